"""A deterministic USTAR tar, written in one pass and hashed on the way."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Mapping
from typing import BinaryIO

from energon_prep.shards.rows import ShardRows

END_OF_ARCHIVE = bytes(2 * tarfile.BLOCKSIZE)

_SMALL = 2**16  #: bytes of a sample that are written at once; more are not worth the copy
_NAME, _SIZE, _CHECKSUM = slice(0, 100), slice(124, 136), slice(148, 155)  # of a header


class TarWriter:
    """Writes samples as adjacent members ``KEY.PART`` (mtime 0, no owner): equal samples give equal
    bytes.

    webdataset's own writer puts PAX headers and the current time into every member.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.num_bytes = 0
        self.rows = ShardRows()  #: where everything written so far lies

    def write(self, key: str, parts: Mapping[str, bytes]) -> None:
        """Append one sample. Names must be ASCII and fit a USTAR header, a part must stay below 8
        GiB.
        """
        assert parts, f"{key} has no parts"
        first = self.num_bytes
        lies: list[tuple[str, int, int]] = []
        pieces: list[bytes] = []
        end = first
        for part, data in parts.items():
            padding = -len(data) % tarfile.BLOCKSIZE
            pieces += (_header(f"{key}.{part}", len(data)), data, bytes(padding))
            lies.append((part, end + tarfile.BLOCKSIZE, len(data)))
            end += tarfile.BLOCKSIZE + len(data) + padding
        if end - first < _SMALL:
            self._append(b"".join(pieces))
        else:
            for piece in pieces:
                self._append(piece)
        self.rows.add(key, first, lies)

    def finish(self) -> str:
        """Write the end-of-archive mark; return the file's sha256."""
        self.rows.end = self.num_bytes
        self._append(END_OF_ARCHIVE)
        return self._sha256.hexdigest()

    def _append(self, data: bytes) -> None:
        self._file.write(data)
        self._sha256.update(data)
        self.num_bytes += len(data)


def _header(name: str, size: int) -> bytes:
    """A member's header, as tarfile writes it, which takes ten times as long. Raises as tarfile
    does.
    """
    if not name.isascii() or len(name) > 100 or size >= 8**11:
        info = tarfile.TarInfo(name)
        info.size = size
        return info.tobuf(format=tarfile.USTAR_FORMAT, encoding="ascii", errors="strict")
    header = bytearray(_BLANK)
    header[_NAME] = name.encode("ascii").ljust(100, b"\0")
    header[_SIZE] = b"%011o\0" % size
    header[_CHECKSUM] = b"%06o\0" % (_BLANK_SUM + sum(header[_NAME]) + sum(header[_SIZE]))
    return bytes(header)


_BLANK = tarfile.TarInfo("").tobuf(format=tarfile.USTAR_FORMAT)
#: Of all but name and size; the checksum itself counts as blanks.
_BLANK_SUM = sum(_BLANK) - sum(_BLANK[_SIZE]) - sum(_BLANK[148:156]) + 8 * ord(" ")
