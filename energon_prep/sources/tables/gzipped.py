"""Gzip files that are read from any place on, at little cost: the decompressor's states are kept on
the way.
"""

from __future__ import annotations

import io
import os
import threading
import zlib
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from energon_prep.errors import PrepError

_CHUNK = 2**16  # compressed bytes read at once
_PIECE = 2**18  # bytes unpacked at once
_FIRST_STEP = 2**20  # bytes between kept states; doubled whenever there are too many
_MOST_STATES = 128  # of some 45 KB each
_MOST_FILES = 4
_FREE_BYTES = 2**30  #: may be unpacked of a file of any size
#: of unpacked to compressed bytes beyond that; tables reach 50, made-up files 1000
_MOST_RATIO = 200


def is_gzip(name: str) -> bool:
    return name.lower().endswith(".gz")


def open_gzip(path: Path) -> BinaryIO:
    """The unpacked bytes, seekable. Raises OSError here, and PrepError where they are damaged or
    far too many.
    """
    return io.BufferedReader(_Unpacked(path), _PIECE)


@dataclass(frozen=True)
class _State:
    place: int  #: bytes unpacked so far
    offset: int  #: compressed bytes used for them
    decompressor: Any  #: zlib's, to be copied; None between the members of the file


@dataclass
class _States:
    """Of one file, by place."""

    kept: list[_State] = field(default_factory=lambda: [_State(0, 0, None)])
    step: int = _FIRST_STEP
    lock: threading.Lock = field(default_factory=threading.Lock)

    def before(self, place: int) -> _State:
        """The last one that is not behind ``place``."""
        with self.lock:
            return self.kept[bisect_right(self.kept, place, key=lambda state: state.place) - 1]

    def wants(self, place: int) -> bool:
        return place >= self.kept[-1].place + self.step

    def keep(self, state: _State) -> None:
        with self.lock:
            if self.wants(state.place):
                self.kept.append(state)
            if len(self.kept) > _MOST_STATES:
                del self.kept[1::2]
                self.step *= 2


class _StatesOfFiles:
    """Those of the files used last, in this process; a changed file is another one."""

    def __init__(self) -> None:
        self._by_file: OrderedDict[object, _States] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, info: os.stat_result) -> _States:
        identity = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
        with self._lock:
            states = self._by_file.setdefault(identity, _States())
            self._by_file.move_to_end(identity)
            if len(self._by_file) > _MOST_FILES:
                self._by_file.popitem(last=False)
            return states


_states = _StatesOfFiles()


class _Unpacked(io.RawIOBase):
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        info = os.fstat(self._file.fileno())
        self._most_bytes = max(_FREE_BYTES, _MOST_RATIO * info.st_size)
        self._states = _states.of(info)
        self._wanted = 0  #: the place to read from
        self._piece = b""  #: unpacked and not given out, from ``_place - len(_piece)`` on
        self._go_to(_State(0, 0, None))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END or (whence == os.SEEK_SET and offset < 0):
            raise io.UnsupportedOperation("the unpacked size is not known")
        self._wanted = offset if whence == os.SEEK_SET else self._wanted + offset
        return self._wanted

    def tell(self) -> int:
        return self._wanted

    def readinto(self, buffer: Any) -> int:
        self._approach()
        while self._place <= self._wanted:
            if not self._unpack():
                return 0
        start = self._wanted - (self._place - len(self._piece))
        piece = self._piece[start : start + len(buffer)]
        buffer[: len(piece)] = piece
        self._wanted += len(piece)
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def _approach(self) -> None:
        """Go to a kept state if it is nearer to what is wanted than where we are."""
        state = self._states.before(self._wanted)
        if self._wanted < self._place - len(self._piece) or state.place > self._place:
            self._go_to(state)

    def _go_to(self, state: _State) -> None:
        self._file.seek(state.offset)
        self._place, self._offset, self._piece = state.place, state.offset, b""
        self._decompressor = None if state.decompressor is None else state.decompressor.copy()

    def _unpack(self) -> bool:
        """Unpack one more piece; False at the end."""
        while True:
            data = self._peek()
            if self._decompressor is None:
                if not data.strip(b"\0"):  # the end, or the zeros that fill a block of a tape
                    return False
                self._decompressor = zlib.decompressobj(wbits=31)
            try:
                piece: bytes = self._decompressor.decompress(data, _PIECE)
            except zlib.error as error:
                raise self._damaged(str(error)) from error
            left = self._decompressor.unused_data or self._decompressor.unconsumed_tail
            self._offset += len(data) - len(left)
            if self._decompressor.eof:
                self._decompressor = None
            elif not data and not piece:
                raise self._damaged("it ends early")
            if piece:
                self._take(piece)
                return True

    def _take(self, piece: bytes) -> None:
        self._piece = piece
        self._place += len(piece)
        if self._place > self._most_bytes:
            raise PrepError(
                f"{self._path} unpacks to more than {_MOST_RATIO} times its size: if that is "
                "right, unpack it (gunzip) and give that"
            )
        if self._states.wants(self._place):
            copy = None if self._decompressor is None else self._decompressor.copy()
            self._states.keep(_State(self._place, self._offset, copy))

    def _peek(self) -> bytes:
        self._file.seek(self._offset)
        return self._file.read(_CHUNK)

    def _damaged(self, what: str) -> PrepError:
        return PrepError(
            f"{self._path} cannot be unpacked beyond byte {self._place} of its text: {what}. "
            "Fetch it again, or unpack what is left of it (gunzip) and give that"
        )
