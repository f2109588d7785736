"""Open files that are read in blocks, which all who read the same file share for a while.

A manifest of segments names one long video in many rows. Each of them needs its index, and pieces
that lie close together; a mounted bucket would be asked for them again for every row.
"""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import BinaryIO, Protocol, TypeVar

from energon_prep.sources.comparison import FileState, ListedFile

T = TypeVar("T")

#: as FFmpeg reads; more would be read for nothing where elements are looked for
BLOCK_BYTES = 2**15
CACHE_BYTES = 2**25  #: of all files, a process


class Guard(Protocol):
    """Calls what reads, and turns its OSError into what the source makes of it."""

    def __call__(self, read: Callable[[], T]) -> T: ...


def open_shared(
    file: ListedFile, guard: Guard, *, start: int = 0, size: int | None = None
) -> BinaryIO:
    """The file at its first byte, seekable, with a place of its own. Raises what ``guard`` does,
    and PrepError if the file has changed.

    ``start`` and ``size``, in bytes, make a file of a stretch of it, such as a member of a tar.
    """
    return io.BufferedReader(_SharedFile(file, guard, start, size), BLOCK_BYTES)


class _BlockCache:
    """The blocks of any file that were read last, by (file, number)."""

    def __init__(self, max_blocks: int) -> None:
        self._max_blocks = max_blocks
        self._blocks: OrderedDict[tuple[object, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, file: object, number: int, read: Callable[[], bytes]) -> bytes:
        with self._lock:
            block = self._blocks.get((file, number))
            if block is not None:
                self._blocks.move_to_end((file, number))
                return block
        block = read()
        with self._lock:
            self._blocks[file, number] = block
            if len(self._blocks) > self._max_blocks:
                self._blocks.popitem(last=False)
        return block


_cache = _BlockCache(CACHE_BYTES // BLOCK_BYTES)


class _SharedFile(io.RawIOBase):
    """A file of the size it had when it was opened; a later change of it is another file to the
    cache.
    """

    def __init__(self, file: ListedFile, guard: Guard, start: int, size: int | None) -> None:
        self._guard = guard
        self._file = guard(lambda: file.path.open("rb", buffering=0))
        info = guard(lambda: os.fstat(self._file.fileno()))
        file.check(FileState.of(info))
        self._identity = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
        rest = max(0, info.st_size - start)
        self._start, self._size = start, rest if size is None else min(size, rest)
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative place {base + offset}")
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fills ``buffer`` up to the end of a block."""
        number, skipped = divmod(self._start + self._place, BLOCK_BYTES)
        if self._place >= self._size:
            return 0
        block = _cache.get(self._identity, number, lambda: self._read_block(number))
        piece = block[skipped : skipped + min(len(buffer), self._size - self._place)]
        buffer[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def _read_block(self, number: int) -> bytes:
        return self._guard(lambda: os.pread(self._file.fileno(), BLOCK_BYTES, number * BLOCK_BYTES))
