"""A hub of model repositories on the loopback interface, for huggingface_hub's own client."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_accepted"


@dataclass
class FakeHub:
    """``folders``: what each repository holds. Those ``gated`` want TOKEN."""

    folders: dict[str, Path]
    gated: frozenset[str] = frozenset()
    busy: bool = False
    url: str = ""
    downloaded: list[str] = field(default_factory=list)  #: repository/file, in order

    def listing(self, name: str) -> dict[str, object]:
        files = sorted(path for path in self.folders[name].rglob("*") if path.is_file())
        siblings = [
            {
                "rfilename": path.relative_to(self.folders[name]).as_posix(),
                "size": path.stat().st_size,
            }
            for path in files
        ]
        gated = "manual" if name in self.gated else False
        return {
            "id": name,
            "modelId": name,
            "sha": COMMIT,
            "gated": gated,
            "siblings": siblings,
            "tags": [],
        }

    def tree(self, name: str, folder: str, recursive: bool) -> list[dict[str, object]]:
        files = sorted(
            path
            for path in (self.folders[name] / folder).glob("**/*" if recursive else "*")
            if path.is_file()
        )
        return [
            {
                "type": "file",
                "path": path.relative_to(self.folders[name]).as_posix(),
                "size": path.stat().st_size,
                "oid": hashlib.sha256(path.read_bytes()).hexdigest()[:40],
            }
            for path in files
        ]


class _Handler(BaseHTTPRequestHandler):
    """Answers as the hub does, for the hub that a subclass names."""

    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        words = self.path.partition("?")[0].strip("/").split("/")
        api = words[:2] == ["api", "models"]
        words = words[2:] if api else words
        name, rest = "/".join(words[:2]), words[2:]
        if self.hub.busy:
            self._send(429)
        elif name not in self.hub.folders:
            self._send(404, error="RepoNotFound")
        elif self._is_refused(name) and (not api or rest == ["auth-check"]):
            status = 401 if "Authorization" not in self.headers else 403
            self._send(status, error="GatedRepo")
        elif api:
            self._send(200, json.dumps(self._about(name, rest)).encode())
        else:
            self._send_file(name, rest[2:], body=body)  # resolve/REVISION/FILE

    def _is_refused(self, name: str) -> bool:
        token = self.headers.get("Authorization")
        return name in self.hub.gated and token != f"Bearer {TOKEN}"

    def _about(self, name: str, rest: list[str]) -> object:
        if rest[:1] == ["tree"]:  # tree/REVISION/FOLDER
            return self.hub.tree(name, "/".join(rest[2:]), "recursive=true" in self.path.lower())
        return {} if rest == ["auth-check"] else self.hub.listing(name)

    def _send_file(self, name: str, words: list[str], *, body: bool) -> None:
        path = self.hub.folders[name].joinpath(*words)
        if not path.is_file():
            return self._send(404, error="EntryNotFound")
        if body:
            self.hub.downloaded.append("/".join([name, *words]))
        return self._send(200, path.read_bytes())

    def _send(self, status: int, content: bytes = b"", *, error: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Type", "application/json")
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


@contextlib.contextmanager
def serve(hub: FakeHub) -> Iterator[FakeHub]:
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
