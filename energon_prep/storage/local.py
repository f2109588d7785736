"""A folder of this machine, in which a file appears whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO

from energon_prep.errors import PrepError
from energon_prep.layout import LOCK, META_DIR, PRIVATE_DIR, TMP_DIR
from energon_prep.storage.guard import GuardedFile, writing
from energon_prep.storage.holder import holder


class LocalStorage:
    """A folder of this machine (or of a mounted file system)."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def exists(self, name: str) -> bool:
        return (self.root / name).exists()

    def size(self, name: str) -> int | None:
        try:
            return (self.root / name).stat().st_size
        except FileNotFoundError:
            return None

    def mtime_ns(self, name: str) -> int | None:
        try:
            return (self.root / name).stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def open(self, name: str) -> BinaryIO:
        return (self.root / name).open("rb")

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def names(self, folder: str) -> list[str]:
        try:
            with os.scandir(self.root / folder) as entries:
                return sorted(entry.name for entry in entries if entry.is_file())
        except FileNotFoundError:
            return []

    def create(self, name: str) -> LocalPublication:
        refuse_linked_folder(self.root, name)
        return LocalPublication(self.root, name)

    def remove(self, name: str) -> None:
        refuse_linked_folder(self.root, name)
        (self.root / name).unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the dataset against other runs; the system frees the lock of a process that died.

        What such a process left half-written is removed, and so are, where an error comes out of a
        run that wrote nothing, the lock and the folders that were made for it. Raises PrepError
        while another run holds the lock.
        """
        with writing(self.root / LOCK):
            new = [folder for folder in (self.root, *self.root.parents) if not folder.exists()]
        with self._lock() as lock:
            lock.truncate(0)
            json.dump({"pid": os.getpid(), "host": socket.gethostname()}, lock)
            lock.flush()
            for name in self.names(TMP_DIR):
                self.remove(f"{TMP_DIR}/{name}")
            try:
                yield
            except BaseException:
                self._remove_unused(new)
                raise

    def _lock(self) -> TextIO:
        """The locked file, open. Raises PrepError, see ``locked``."""
        with writing(self.root / LOCK):
            self._refuse_links()
            (self.root / TMP_DIR).mkdir(parents=True, exist_ok=True)
            lock = (self.root / LOCK).open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._is_lock(lock):
                return lock
        except BlockingIOError:
            held_by = holder(os.pread(lock.fileno(), 2**12, 0))
            lock.close()
            raise PrepError(
                f"another run is writing to {self.root} ({held_by}): "
                "wait for it, stop it, or write to another destination"
            ) from None
        except OSError as error:
            lock.close()
            raise PrepError(
                f"{self.root}: its file system cannot lock files ({error.strerror}), so that "
                "two runs could write to it at once: mount it with locks (Lustre: -o flock; "
                "NFS: with lockd), or write to a local disk and copy the dataset"
            ) from error
        lock.close()
        return self._lock()

    def _is_lock(self, file: TextIO) -> bool:
        """Whether ``file`` is still the lock: another run may have removed that between the opening
        and the locking, and then it keeps nobody out.
        """
        try:
            return os.path.samestat(os.fstat(file.fileno()), (self.root / LOCK).stat())
        except FileNotFoundError:
            return False

    def _remove_unused(self, new: Iterable[Path]) -> None:
        """Remove the lock and the ``new`` folders, innermost first, if nothing else is there."""
        private, tmp = self.root / PRIVATE_DIR, self.root / TMP_DIR
        with suppress(OSError):  # what cannot be removed harms nobody
            if {*private.iterdir()} <= {self.root / LOCK, tmp} and not any(_in(tmp)):
                (self.root / LOCK).unlink()
                for folder in (tmp, private, *new):
                    folder.rmdir()

    def _refuse_links(self) -> None:
        """In a dataset that somebody else made they could lead what is written, or removed, to
        anywhere; and what is no file would hold whoever opens it.
        """
        refuse_special(self.root)
        private, meta = self.root / PRIVATE_DIR, self.root / META_DIR
        for path in (private, *_in(private), meta, *_in(meta), *_in(meta / PRIVATE_DIR)):
            if path.is_symlink():
                raise PrepError(_LINK.format(path))


_LINK = "{} is a link, where a dataset has files and folders of its own: remove it"


def _in(folder: Path) -> Iterator[Path]:
    return folder.iterdir() if folder.is_dir() else iter(())


def refuse_special(root: Path) -> None:
    """Raise PrepError for a pipe, a socket or a device where a dataset has its files: who opens it
    may wait for ever.
    """
    private, meta = root / PRIVATE_DIR, root / META_DIR
    inner = [path for path in _in(private) if path.is_dir()]
    for folder in (root, private, *inner, meta, meta / PRIVATE_DIR):
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_file() and not entry.is_dir() and Path(entry.path).exists():
                    raise PrepError(
                        f"{entry.path} is a pipe, a socket or a device, where a dataset has files: "
                        "remove it"
                    )


def refuse_linked_folder(root: Path, name: str) -> None:
    """Raise PrepError if the file ``name`` of ``root`` lies behind a link to a folder, and so maybe
    outside of ``root``.
    """
    folder = root
    for step in name.split("/")[:-1]:
        folder /= step
        if folder.is_symlink():
            raise PrepError(_LINK.format(folder))


class LocalPublication:
    """A temporary file in the same folder tree, renamed when complete."""

    def __init__(self, root: Path, name: str) -> None:
        self._final = root / name
        self._tmp = root / TMP_DIR / f"{os.getpid()}-{name.replace('/', '-')}"
        self._done = False
        with writing(self._final):
            self._tmp.parent.mkdir(parents=True, exist_ok=True)
            self._final.parent.mkdir(parents=True, exist_ok=True)
            raw = self._tmp.open("wb")
        self.file: BinaryIO = GuardedFile(raw, self._final)  # type: ignore[assignment]

    def publish(self) -> None:
        with writing(self._final):
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()
            self._tmp.replace(self._final)
            self._done = True
            _sync_dir(self._final.parent)

    def discard(self) -> None:
        if not self._done:
            with suppress(OSError):  # closing flushes once more what could not be written
                self.file.close()
            self._tmp.unlink(missing_ok=True)
            self._done = True


def _sync_dir(path: Path) -> None:
    """Make a rename durable: the folder's entry is data too."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
