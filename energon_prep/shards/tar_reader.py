"""Tarfile, held against headers that were made up to fill the memory or never end."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

_MAX_HEADER = 2**20  #: bytes of a PAX header or a GNU long name


@contextmanager
def open_tar(file: BinaryIO) -> Iterator[tarfile.TarFile]:
    """An uncompressed tar. Raises tarfile.TarError and what ``next_member`` does."""
    guard: Any = _Guard(file)
    with _garbled():
        tar = tarfile.open(fileobj=guard, mode="r:")  # noqa: SIM115 - it reads the first header, which may be garbled
    with tar:
        guard.in_headers = False
        yield tar


def next_member(tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    """The next member of a tar that ``open_tar`` opened. Raises TarError, OSError, ValueError and OverflowError."""
    guard: Any = tar.fileobj
    guard.in_headers, guard.num_empty = True, 0
    try:
        with _garbled():
            member = tar.next()
    finally:
        guard.in_headers = False
    tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all
    if member is not None and member.size < 0:
        raise tarfile.ReadError(f"damaged header at byte {member.offset}")
    if member is not None and member.issparse():  # Energon takes the pieces for the whole; the whole may be all holes
        raise tarfile.ReadError(f"{member.name} is stored as a sparse file: write it whole")
    return member


@contextmanager
def _garbled() -> Iterator[None]:
    """tarfile trips over garbled extension headers, and over a chain of a thousand of them."""
    try:
        yield
    except (LookupError, AttributeError, TypeError, RecursionError) as error:
        raise tarfile.ReadError(f"a damaged header ({type(error).__name__}: {error})") from error


class _Guard:
    """The file that tarfile reads: of headers neither much at once nor again and again at the end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek = file.seek
        self.tell = file.tell
        self.close = file.close
        start = file.tell()
        self._num_bytes = file.seek(0, 2)
        file.seek(start)
        self.in_headers = True
        self.num_empty = 0

    def read(self, size: int = -1) -> bytes:
        if self.in_headers and not 0 <= size <= _MAX_HEADER:
            raise tarfile.ReadError(f"a header extension claims {size} bytes")
        rest = max(0, self._num_bytes - self._file.tell())
        data = self._file.read(rest if size < 0 else min(size, rest))  # more would be asked of the memory first
        self.num_empty += not data
        if self.in_headers and self.num_empty > 1:
            raise tarfile.ReadError("the tar ends within a header")
        return data
