"""A deterministic USTAR tar, written in one pass and hashed on the way."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Mapping
from typing import BinaryIO

from energon_prep.shards.rows import ShardRows

END_OF_ARCHIVE = bytes(2 * tarfile.BLOCKSIZE)


class TarWriter:
    """Writes samples as adjacent members ``KEY.PART`` (mtime 0, no owner): equal samples give equal bytes.

    webdataset's own writer puts PAX headers and the current time into every member.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.num_bytes = 0
        self.rows = ShardRows()  #: where everything written so far lies

    def write(self, key: str, parts: Mapping[str, bytes]) -> None:
        """Append one sample. Names must be ASCII and fit a USTAR header, a part must stay below 8 GiB."""
        assert parts, f"{key} has no parts"
        first = self.num_bytes
        lies: list[tuple[str, int, int]] = []
        for part, data in parts.items():
            self._append(_header(f"{key}.{part}", len(data)))
            lies.append((part, self.num_bytes, len(data)))
            self._append(data)
            self._append(bytes(-len(data) % tarfile.BLOCKSIZE))
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
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(format=tarfile.USTAR_FORMAT, encoding="ascii", errors="strict")
