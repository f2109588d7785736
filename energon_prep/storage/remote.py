"""An object store, into which a file is put whole: it is spooled here, sent, and then compared."""

from __future__ import annotations

import functools
import io
import posixpath
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, BinaryIO, TypeVar

from energon_prep.errors import PrepError, UsageError
from energon_prep.layout import LOCK
from energon_prep.storage.guard import GuardedFile
from energon_prep.storage.lease import Lease
from energon_prep.storage.patience import Patience, answer
from energon_prep.storage.spool import etags, fetched, new_spool, spool_place
from energon_prep.storage.urls import refuse_secrets, scrubbed

T = TypeVar("T")

_PART = 16 * 2**20  #: bytes of a part of what is sent in parts
_MOST_PARTS = 10_000
#: What the file system of a scheme is made with: s3fs holds as many parts in memory at once.
#: Retries within it are few: how long is waited in all is decided here.
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"max_concurrency": 4, "config_kwargs": {"retries": {"total_max_attempts": 2}}}
}


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
        def get(path: str) -> None:
            self._asked(name, lambda: self._files.get_file(self._path(name), path))

        return fetched(self._named(name), get)

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
        sums = etags(spool, part)

        def send() -> None:
            if self._lease is not None:
                self._lease.require()
            spool.seek(0)
            self._files.put_file(f"/dev/fd/{spool.fileno()}", self._path(name), chunksize=part)
            self._require_whole(name, spool, size, sums)

        with self._in_a_bucket(name):
            self._asked(name, send)

    def put_new(self, name: str, data: bytes) -> bool:
        """Create a file unless there is one; return whether it is now this one.

        The store itself decides between two that try at once where it knows conditional creates
        (If-None-Match). ``data`` must be of this one writer alone: an answer that was lost is made
        good by looking.
        """
        path = self._path(name)
        with self._in_a_bucket(name), suppress(FileExistsError):
            if not self.exists(name):
                self._asked(name, lambda: self._files.pipe_file(path, data, mode="create"))
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

    @contextmanager
    def _in_a_bucket(self, name: str) -> Iterator[None]:
        """Say what is lacking where a file cannot be put for want of something else."""
        try:
            yield
        except FileNotFoundError as error:
            raise PrepError(
                f"cannot write {self._named(name)}: {scrubbed(error)}: make the bucket, or give "
                "another destination"
            ) from None

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
        return self._named(name).partition("://")[2]

    def _named(self, name: str) -> str:
        return self.url if name == "." else f"{self.url}/{name}"

    def _asked(self, name: str, ask: Callable[[], T]) -> T:
        return answer(ask, self._named(name), self._patience)


class RemotePublication:
    """A file spooled on this machine, which is put into the store when it is complete."""

    def __init__(self, storage: RemoteStorage, name: str) -> None:
        self._storage = storage
        self._name = name
        url = f"{storage.url}/{name}"
        self.file: BinaryIO = GuardedFile(new_spool(url), spool_place(url))  # type: ignore[assignment]

    def publish(self) -> None:
        self.file.flush()
        self._storage.put(self._name, self.file.raw)  # type: ignore[attr-defined]
        self.discard()

    def discard(self) -> None:
        with suppress(OSError):  # closing flushes once more what could not be written
            self.file.close()
