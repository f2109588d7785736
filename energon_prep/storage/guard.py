"""Says what a failure of the file system stopped, and what to do about it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from energon_prep.errors import PrepError

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


class GuardedFile:
    """A binary file whose write failures (full disk, lost mount) say what they stopped.

    ``place``: what could not be written, in words.
    """

    def __init__(self, raw: BinaryIO, place: Path | str) -> None:
        self.raw = raw
        self._place = place

    def write(self, data: bytes) -> int:
        with writing(self._place):
            return self.raw.write(data)

    def flush(self) -> None:
        with writing(self._place):
            self.raw.flush()

    def fileno(self) -> int:
        return self.raw.fileno()

    def close(self) -> None:
        self.raw.close()
