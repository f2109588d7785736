"""An S3 of the tests' own on loopback that asks for credentials, and a line to it that fails."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

BUCKET = "bucket"


@contextmanager
def s3_server(environment: pytest.MonkeyPatch) -> Iterator[str]:
    """The server's address, with a bucket, and its credentials in the environment."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        anyone = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
        asked = {"endpoint_url": url, "region_name": "us-east-1", **anyone}
        iam = boto3.client("iam", **asked)
        iam.create_user(UserName="user")
        key = iam.create_access_key(UserName="user")["AccessKey"]
        allowed = [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]
        policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
        iam.put_user_policy(UserName="user", PolicyName="all", PolicyDocument=policy)
        boto3.client("s3", **asked).create_bucket(Bucket=BUCKET)
        plain = {"Content-Type": "text/plain"}
        urllib.request.urlopen(
            urllib.request.Request(f"{url}/moto-api/reset-auth", b"0", plain, method="POST")
        ).close()
        environment.setenv("AWS_ENDPOINT_URL", url)
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        environment.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        environment.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        yield url
    finally:
        server.stop()


class Line(ThreadingHTTPServer):
    """Hands requests on, but for those that ``faults`` say: "500", "cut" or "lose" the answer."""

    daemon_threads = True

    def __init__(self, to: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.to = to.removeprefix("http://")
        self.faults: list[str] = []  #: of the next PUT and POST requests
        self.num_puts = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Line

    def _pass(self) -> None:
        fault = ""
        if self.command in ("PUT", "POST"):
            self.server.num_puts += 1
            fault = self.server.faults.pop(0) if self.server.faults else ""
        length = int(self.headers.get("Content-Length") or 0)
        if fault == "cut":
            self.rfile.read(length // 2)
            self.close_connection = True
            self.connection.close()
            return
        if self.headers.get("Expect"):
            self.send_response_only(100)
            self.end_headers()
        body = self.rfile.read(length)
        if fault == "500":
            self._answer(500, {}, b"")
            return
        onward = http.client.HTTPConnection(self.server.to)
        onward.request(self.command, self.path, body, dict(self.headers))
        answer = onward.getresponse()
        data = answer.read()
        onward.close()
        if fault == "lose":
            self.close_connection = True
            self.connection.close()
            return
        self._answer(answer.status, dict(answer.getheaders()), data)

    def _answer(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        """Say nothing."""
