"""What a run asks of the place that it writes to, wherever that is."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from energon_prep.errors import PrepError


class Publication(Protocol):
    """A file being written: invisible under its final name until ``publish``."""

    file: BinaryIO

    def publish(self) -> None:
        """Give the complete file its final name, durably."""
        ...

    def discard(self) -> None:
        """Forget the file. Does nothing after ``publish``."""
        ...


class Storage(Protocol):
    """The destination of a run. Names are relative, "/" separated."""

    def exists(self, name: str) -> bool: ...

    def size(self, name: str) -> int | None:
        """Bytes of a file, or None if there is none."""
        ...

    def mtime_ns(self, name: str) -> int | None:
        """When a file was last written, in ns; None if there is none, or the place does not keep
        it.
        """
        ...

    def open(self, name: str) -> BinaryIO: ...

    def read(self, name: str) -> bytes: ...

    def names(self, folder: str) -> list[str]:
        """Names of the files directly in ``folder``, sorted; empty if there is no such folder."""
        ...

    def create(self, name: str) -> Publication: ...

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""
        ...


def publish_bytes(storage: Storage, name: str, data: bytes) -> None:
    """Write a small file whole."""
    publication = storage.create(name)
    try:
        publication.file.write(data)
        publication.publish()
    finally:
        publication.discard()


_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn a failure of the file system into a message with a remedy."""
    try:
        yield
    except OSError as error:
        remedy = "make room" if error.errno in _FULL else "make it writable"
        raise PrepError(
            f"cannot write {path}: {error.strerror or error}: {remedy} and run the same "
            "command again; what is finished is kept"
        ) from error
