"""What a run asks of the place that it writes to, wherever that is."""

from __future__ import annotations

from typing import BinaryIO, Protocol


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
