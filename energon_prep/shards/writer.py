"""A shard on its way to the disk, whole with its ledger entry or not at all; its tar is written in
one pass and hashed on the way.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import BinaryIO

from energon_prep.layout import sample_key, tar_name
from energon_prep.samples import UNREAD, Content, Reject
from energon_prep.shards.ledger import (
    LedgerEntry,
    content_digest,
    count_rejects,
    media_digest,
    record,
    retract,
)
from energon_prep.shards.rows import ShardRows
from energon_prep.storage import Publication, Storage
from energon_prep.tar_headers import END_OF_ARCHIVE

_SMALL = 2**16  #: bytes of a sample that are written at once; more are not worth the copy
_NAME, _SIZE, _CHECKSUM = slice(0, 100), slice(124, 136), slice(148, 155)  # of a header


class ShardWriter:
    """Takes a shard's samples and rejects; ``finish`` publishes the tar, its index rows, then the
    ledger entry.

    Left without ``finish`` (an error, a kill) nothing of the shard carries a final name. A shard
    whose samples were all rejected has a ledger entry and no tar: Megatron-Energon cannot index an
    empty one.
    """

    def __init__(self, storage: Storage, *, index: int, num_planned: int) -> None:
        self._storage = storage
        self._index = index
        self._num_planned = num_planned
        self._name = tar_name(index)
        self._publication: Publication | None = None
        self._tar: TarWriter | None = None
        self._num_written = 0
        self._num_samples = 0
        self._notes: Counter[str] = Counter()
        self._rejects: list[Reject] = []
        self._contents: list[Content] = []  #: in the samples' order

    def write(
        self,
        serial: int,
        samples: Sequence[tuple[int | None, Mapping[str, bytes]]],
        *,
        content: Content = UNREAD,
        notes: Mapping[str, int] | None = None,
    ) -> None:
        """Append what one raw sample became: its clips' numbers (None for a single one) and
        parts.
        """
        if self._tar is None:
            self._publication = self._storage.create(self._name)
            self._tar = TarWriter(self._publication.file)
        for clip, parts in samples:
            self._tar.write(sample_key(serial, clip), parts)
        self._num_samples += len(samples)
        self._num_written += 1
        self._notes.update(notes or {})
        self._contents.append(content)

    def reject(self, reject: Reject) -> None:
        self._rejects.append(reject)
        # what could not be read is not compared: another try may read it
        self._contents.append(UNREAD if reject.stage == "read" else reject.content)

    def finish(self, *, halved: Mapping[str, int] | None = None) -> LedgerEntry:
        """Publish. Raises PrepError unless every planned sample was written or rejected.

        ``halved``: what the ledger is to record, see ``LedgerEntry``.
        """
        sha256 = self._tar.finish() if self._tar is not None else ""
        rows = self._tar.rows if self._tar is not None else None
        entry = LedgerEntry(
            index=self._index,
            shard=self._name if self._tar is not None else "",
            num_planned=self._num_planned,
            num_written=self._num_written,
            num_samples=self._num_samples,
            num_rejected=len(self._rejects),
            num_parts=rows.num_parts if rows is not None else 0,
            bytes=self._tar.num_bytes if self._tar is not None else 0,
            sha256=sha256,
            mtime_ns=None,
            rows_bytes=0,
            rejects=count_rejects(self._rejects),
            content=content_digest(self._contents),
            media=media_digest(self._contents),
            halved=dict(halved or {}),
            notes=dict(sorted(self._notes.items())),
        )
        retract(self._storage, self._index)
        if self._publication is not None:
            self._publication.publish()
        return record(self._storage, entry, rows, self._rejects)

    def discard(self) -> None:
        """Forget the shard; nothing of it carries a final name. Does nothing after ``finish``."""
        if self._publication is not None:
            self._publication.discard()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.discard()


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
    """A member's header, as tarfile writes it: in 2 us, where ``TarInfo.tobuf`` takes 16; an encode
    without models is 12 % slower with that. Raises as tarfile does.
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
