"""An object store, into which a file is put whole: it is spooled here, sent, and then compared."""

from __future__ import annotations

import functools
import hashlib
import io
import logging
import posixpath
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from energon_prep.errors import PrepError, UsageError
from energon_prep.layout import LOCK
from energon_prep.storage.guard import writing
from energon_prep.storage.lease import Lease
from energon_prep.storage.urls import refuse_secrets, scrubbed

log = logging.getLogger(__name__)

T = TypeVar("T")

_PART = 16 * 2**20  #: bytes of a part of what is sent in parts
_MOST_PARTS = 10_000
#: What the file system of a scheme is made with: s3fs holds as many parts in memory at once.
#: Retries within it are few: how long is waited in all is decided here.
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"max_concurrency": 4, "config_kwargs": {"retries": {"total_max_attempts": 2}}}
}
_OUR_FAULTS = (TypeError, ValueError, AttributeError, LookupError, ImportError)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a store that fails is asked again."""

    seconds: float = 300.0  #: in all, for one file
    first_wait: float = 0.5
    most_wait: float = 20.0
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class StoreError(PrepError):
    """A store that does not answer: what it holds is not known, and nothing of it is damaged."""


class RemoteStorage:
    """A prefix of an object store, by its URL; whatever fsspec has a file system for.

    Who may enter is for the store's own library to find: environment, profile, instance role.
    """

    def __init__(self, url: str, *, patience: Patience | None = None) -> None:
        self.url = refuse_secrets(url).rstrip("/")
        self._patience = patience or Patience()
        self._lease: Lease | None = None  #: of the process that holds the lock

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "_patience": self._patience, "_lease": None}

    def exists(self, name: str) -> bool:
        return bool(self._asked(name, lambda: self._files.exists(self._path(name))))

    def size(self, name: str) -> int | None:
        info = self._info(name)
        return None if info is None else int(info["size"])

    def mtime_ns(self, name: str) -> int | None:
        info = self._info(name) or {}
        for key in ("LastModified", "mtime", "last_modified", "created"):
            if isinstance(info.get(key), datetime):
                return int(info[key].timestamp()) * 10**9  # listings are no finer than a second
        return None

    def open(self, name: str) -> BinaryIO:
        place = _place(self._named(name))
        with writing(place):
            folder = tempfile.TemporaryDirectory(prefix="energon-prep-")
        with folder:  # the open file outlives its name
            path = Path(folder.name) / "file"
            self._asked(name, lambda: self._files.get_file(self._path(name), str(path)))
            return path.open("rb")

    def read(self, name: str) -> bytes:
        return bytes(self._asked(name, lambda: self._files.cat_file(self._path(name))))

    def names(self, folder: str) -> list[str]:
        path = self._path(folder)
        try:
            found = self._asked(folder, lambda: self._files.ls(path, detail=True))
        except FileNotFoundError:
            return []
        return sorted(posixpath.basename(item["name"]) for item in found if item["type"] == "file")

    def create(self, name: str) -> RemotePublication:
        return RemotePublication(self, name)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._asked(name, lambda: self._files.rm_file(self._path(name)))

    def put(self, name: str, spool: BinaryIO) -> None:
        """Send a spooled file, whole, over what is there; then make sure that it arrived."""
        size = spool.seek(0, io.SEEK_END)
        part = max(_PART, -(-size // _MOST_PARTS))
        sums = _checksums(spool, part)

        def send() -> None:
            if self._lease is not None:
                self._lease.require()
            spool.seek(0)
            self._files.put_file(f"/dev/fd/{spool.fileno()}", self._path(name), chunksize=part)
            self._require_whole(name, spool, size, sums)

        try:
            self._asked(name, send)
        except FileNotFoundError as error:
            raise PrepError(
                f"cannot write {self._named(name)}: {scrubbed(error)}: make the bucket, or give "
                "another destination"
            ) from None

    def put_new(self, name: str, data: bytes) -> bool:
        """Create a file unless there is one; return whether it is now this one.

        The store itself decides between two that try at once where it knows conditional creates
        (If-None-Match). ``data`` must be of this one writer alone: an answer that was lost is made
        good by looking.
        """
        path = self._path(name)
        try:
            if not self.exists(name):
                self._asked(name, lambda: self._files.pipe_file(path, data, mode="create"))
        except FileExistsError:
            log.debug("%s is there already", name)
        except FileNotFoundError as error:
            raise PrepError(
                f"cannot write {self._named(name)}: {scrubbed(error)}: make the bucket, or give "
                "another destination"
            ) from None
        try:
            return self.read(name) == data
        except FileNotFoundError:
            return False

    def swap(self, name: str, old: bytes, new: bytes) -> bool:
        """Replace a file that is ``old``; return whether it is now ``new``.

        S3 itself decides between two that try at once (If-Match); elsewhere the later one wins, and
        the other finds that out when it next looks.
        """
        info = self._info(name) or {}
        try:
            if self.read(name) == old:
                self._asked(name, lambda: self._replace(name, new, info.get("ETag")))
            return self.read(name) == new
        except FileNotFoundError:
            return False

    def _replace(self, name: str, data: bytes, etag: str | None) -> None:
        condition = {"IfMatch": etag} if self._scheme == "s3" else {}
        try:
            self._files.pipe_file(self._path(name), data, **condition)
        except OSError as error:
            response = getattr(error.__cause__, "response", {})
            if response.get("Error", {}).get("Code") != "PreconditionFailed":
                raise

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the dataset against other runs. Raises PrepError while another run holds it."""
        lease = Lease(self, LOCK)
        with lease.held():
            self._lease = lease
            try:
                yield
            finally:
                self._lease = None

    def _require_whole(self, name: str, spool: BinaryIO, size: int, sums: set[str]) -> None:
        """Raise OSError unless the store has what was sent: by the size and, where its ETag is an
        MD5, by that; else what it has is read again.
        """
        info = self._files.info(self._path(name))
        if info["size"] != size:
            raise OSError(f"it has {info['size']} bytes there, and {size} were sent")
        if str(info.get("ETag", "")).strip('"') in sums:
            return
        spool.seek(0)
        with self._files.open(self._path(name), "rb") as there:
            while True:
                sent = spool.read(2**20)
                if there.read(len(sent) or 1) != sent:
                    raise OSError("it has other bytes there than were sent")
                if not sent:
                    return

    def _info(self, name: str) -> dict[str, Any] | None:
        try:
            info = self._asked(name, lambda: self._files.info(self._path(name)))
        except FileNotFoundError:
            return None
        return dict(info) if info["type"] == "file" else None

    @functools.cached_property
    def _files(self) -> Any:
        """fsspec's file system, one of our own in each process, which remembers no listing."""
        import fsspec

        scheme = self._scheme
        try:
            files = fsspec.filesystem(
                scheme,
                skip_instance_cache=True,
                use_listings_cache=False,
                **_OPTIONS.get(scheme, {}),
            )
        except (ImportError, ValueError) as error:
            raise UsageError(
                f"{self.url}: nothing here reads and writes {scheme}:// ({error})"
            ) from None
        return files

    @property
    def _scheme(self) -> str:
        return self.url.partition("://")[0]

    def _path(self, name: str) -> str:
        place = self.url.partition("://")[2]
        return place if name == "." else f"{place}/{name}"

    def _named(self, name: str) -> str:
        return self.url if name == "." else f"{self.url}/{name}"

    def _asked(self, name: str, ask: Callable[[], T]) -> T:
        """The store's answer; a failure that may pass is met with another try, until patience ends.

        Raises FileNotFoundError and FileExistsError as they are, and PrepError for the rest.
        """
        patience = self._patience
        until, wait = patience.now() + patience.seconds, patience.first_wait
        while True:
            try:
                return ask()
            except (FileNotFoundError, FileExistsError, PrepError, *_OUR_FAULTS):
                raise
            except PermissionError as error:
                raise _not_allowed(self._named(name), error) from None
            except Exception as error:  # noqa: BLE001 - each store's library has errors of its own
                if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
                    raise _not_allowed(self._named(name), error) from None
                pause = wait * random.uniform(0.5, 1.0)  # not all workers at once
                if patience.now() + pause >= until:
                    raise StoreError(
                        f"{self._named(name)}: the store failed for {patience.seconds:g} s, at "
                        f"last with {type(error).__name__}: {scrubbed(error)}. Run the same "
                        "command again when it answers; what is finished is kept"
                    ) from None
                log.debug("%s: %s: tried again", self._named(name), scrubbed(error))
            patience.sleep(pause)
            wait = min(2 * wait, patience.most_wait)


class RemotePublication:
    """A file spooled on this machine, which is put into the store when it is complete."""

    def __init__(self, storage: RemoteStorage, name: str) -> None:
        self._storage = storage
        self._name = name
        self.file: BinaryIO = _Spooled(f"{storage.url}/{name}")  # type: ignore[assignment]

    def publish(self) -> None:
        self.file.flush()
        self._storage.put(self._name, self.file.raw)  # type: ignore[attr-defined]
        self.discard()

    def discard(self) -> None:
        with suppress(OSError):  # closing flushes once more what could not be written
            self.file.close()


class _Spooled:
    """A temporary file without a name, so that nothing of it outlives this process."""

    def __init__(self, url: str) -> None:
        self._place = _place(url)
        self.raw = _spool(url)

    def write(self, data: bytes) -> int:
        with writing(self._place):
            return self.raw.write(data)

    def flush(self) -> None:
        with writing(self._place):
            self.raw.flush()

    def close(self) -> None:
        self.raw.close()


def _not_allowed(url: str, error: Exception) -> PrepError:
    return PrepError(
        f"{url}: the store refuses access ({scrubbed(error)}): give credentials that may read and "
        "write there, by environment or profile, and run the same command again; what is finished "
        "is kept"
    )


def _place(url: str) -> str:
    return f"{tempfile.gettempdir()} (TMPDIR), where {url} is spooled"


def _spool(url: str) -> BinaryIO:
    with writing(_place(url)):
        return tempfile.TemporaryFile()


def _checksums(file: BinaryIO, part: int) -> set[str]:
    """The ETags that a store makes of MD5s: of the whole, and of the parts' own."""
    file.seek(0)
    whole, parts = hashlib.md5(usedforsecurity=False), list[bytes]()
    while data := file.read(part):
        whole.update(data)
        parts.append(hashlib.md5(data, usedforsecurity=False).digest())
    joined = hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()
    return {whole.hexdigest(), f"{joined}-{len(parts)}"}
