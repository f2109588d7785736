"""The ledger, what is known about every finished shard.

A shard is finished when its ledger entry exists; the entry is written after everything else of the
shard.

    DST/shard_000000.tar, .tar.idx                 the samples, and where each begins; none if all
    were rejected
    DST/.energon-prep/ledger/shard_000000.rows     ShardRows: all that an index needs of the tar
    DST/.energon-prep/rejects/shard_000000.jsonl   one Reject a line; absent if there is none
    DST/.energon-prep/ledger/shard_000000.json     one LedgerEntry

The ledger's head (shards/head.py) has the checksums of the entries.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from energon_prep.errors import PrepError
from energon_prep.layout import (
    LEDGER_DIR,
    entry_name,
    idx_name,
    rejects_name,
    rows_name,
    shard_stem,
    tar_name,
)
from energon_prep.samples import KILLED, Content, Reject
from energon_prep.shards.rows import ShardRows, read_tar
from energon_prep.storage import LocalStorage, Storage, publish_bytes
from energon_prep.tar_headers import END_OF_ARCHIVE, DamagedTarError

logger = logging.getLogger(__name__)

_HEX = re.compile(r"[0-9a-f]*")
_RESTORE = "restore it, or remove it and run the same encode again"


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One finished shard."""

    index: int
    shard: str  #: file name; "" if every sample was rejected and there is no tar
    num_planned: int
    num_written: int
    #: in the tar: one for each raw sample written, more where a video gave several clips
    num_samples: int
    num_rejected: int
    num_parts: int  #: of all samples
    bytes: int
    sha256: str
    mtime_ns: int | None  #: of the tar as it was published; None where there is none to know
    rows_bytes: int
    rejects: dict[str, int]  #: "stage: reason" -> count
    content: str = ""  #: digest of what was read of its samples; "" where not known
    #: Digest of the sizes and times of media files that the plan does not know, which a table
    #: names; "" if there are none. Where it differs, contents decide.
    media: str = ""
    rejects_sha256: str = ""  #: of the file with the shard's rejects; "" if there is none
    #: Kind of sample -> the batch size it was encoded in, where the device had no memory for larger
    #: ones. Such a shard's numbers may differ in their last bits from those of a device with more.
    halved: dict[str, int] = field(default_factory=dict)
    #: what was done to written samples -> how often
    notes: dict[str, int] = field(default_factory=dict)

    @property
    def num_unread(self) -> int:
        """Rejects that another try may turn into samples: of stage "read", and those at which
        processes were killed.
        """
        return sum(
            num
            for why, num in self.rejects.items()
            if why.startswith("read: ") or why == f"decode: {KILLED}"
        )

    def __post_init__(self) -> None:
        if self.num_planned != self.num_written + self.num_rejected:
            raise PrepError(
                f"shard {self.index}: {self.num_planned} samples planned, {self.num_written} "
                f"written and {self.num_rejected} rejected: some are unaccounted for"
            )


_NUMBERS = [field.name for field in dataclasses.fields(LedgerEntry) if field.type == "int"]


def count_rejects(rejects: Sequence[Reject]) -> dict[str, int]:
    return dict(sorted(Counter(f"{reject.stage}: {reject.reason}" for reject in rejects).items()))


def retract(storage: Storage, index: int) -> None:
    """Remove the entry of an earlier run, so that it cannot vouch for what will now be
    published.
    """
    storage.remove(entry_name(index))


def content_digest(contents: Iterable[Content]) -> str:
    """``LedgerEntry.content`` of a shard's samples, in their order."""
    return _digest(content.digest for content in contents)


def media_digest(contents: Sequence[Content]) -> str:
    """``LedgerEntry.media`` of a shard's samples, in their order."""
    if not any(content.state for content in contents):
        return ""
    return _digest(content.state + b"\n" for content in contents)


def _digest(pieces: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(pieces)).hexdigest()[:32]


def _line(reject: Reject) -> str:
    fields = dataclasses.asdict(reject)
    del fields["content"]
    return json.dumps(fields) + "\n"


def record(
    storage: Storage, entry: LedgerEntry, rows: ShardRows | None, rejects: Sequence[Reject]
) -> LedgerEntry:
    """Declare a shard finished. Its tar, of which ``rows`` are, must be published already; None:
    there is none.
    """
    if rows is not None:
        rows_bytes = _publish_rows(storage, entry.index, rows)
        entry = dataclasses.replace(
            entry, rows_bytes=rows_bytes, mtime_ns=storage.mtime_ns(entry.shard)
        )
    else:
        for name in (tar_name(entry.index), idx_name(entry.index), rows_name(entry.index)):
            storage.remove(name)
    if rejects:
        data = "".join(map(_line, rejects)).encode()
        entry = dataclasses.replace(entry, rejects_sha256=hashlib.sha256(data).hexdigest())
        publish_bytes(storage, rejects_name(entry.index), data)
    else:
        storage.remove(rejects_name(entry.index))
    write_entry(storage, entry)
    return entry


def write_entry(storage: Storage, entry: LedgerEntry) -> None:
    publish_bytes(
        storage, entry_name(entry.index), (json.dumps(dataclasses.asdict(entry)) + "\n").encode()
    )


def finished(storage: Storage) -> dict[int, LedgerEntry]:
    """The finished shards by index.

    An entry whose tar is missing or has another size does not count: that shard is encoded again.
    Where only the .idx or the rows are gone they are written again, from the tar's headers.
    """
    return {
        entry.index: entry
        for entry in _entries(storage)
        if not entry.shard or _is_whole(storage, entry)
    }


def read_ledger(dest: Path) -> list[LedgerEntry] | None:
    """Every entry of a dataset, by index, whatever became of the tars; None if this tool did not
    write it.
    """
    storage = LocalStorage(dest)
    return list(_entries(storage)) if storage.exists(LEDGER_DIR) else None


def unread_serials(storage: Storage, entry: LedgerEntry) -> frozenset[int]:
    """The numbers of a shard's samples that could not be read; none where its rejects are lost or
    damaged.
    """
    if not entry.num_unread:
        return frozenset()
    try:
        rejects = [
            json.loads(line) for line in storage.read(rejects_name(entry.index)).splitlines()
        ]
        return frozenset(int(one["serial"]) for one in rejects if one["stage"] == "read")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return frozenset()


def has_rows(storage: Storage, entry: LedgerEntry) -> bool:
    """Whether a shard's .idx and rows are there, by their sizes."""
    idx_bytes = 8 * (entry.num_samples + 1)
    return (
        storage.size(idx_name(entry.index)) == idx_bytes
        and storage.size(rows_name(entry.index)) == entry.rows_bytes
    )


def load_rows(storage: Storage, entry: LedgerEntry) -> ShardRows:
    """What was recorded of a shard's tar. Raises ValueError or OSError if that is damaged or
    gone.
    """
    rows = ShardRows.from_bytes(storage.read(rows_name(entry.index)))
    if not _fit(rows, entry):
        raise ValueError("damaged: the rows are not those of the ledger's entry")
    return rows


def scan_rows(storage: Storage, entry: LedgerEntry) -> ShardRows:
    """The rows of a shard from the headers of its tar. Raises PrepError if that is not the one that
    was written.
    """
    try:
        with storage.open(entry.shard) as file:
            rows = read_tar(file)
    except DamagedTarError as error:
        raise PrepError(f"{entry.shard}: it is damaged ({error}): {_RESTORE}") from error
    if not _fit(rows, entry):
        raise PrepError(
            f"{entry.shard}: it holds {len(rows.keys)} samples of {rows.num_parts} parts that "
            f"end at byte {rows.end}, and {entry.num_samples} of {entry.num_parts} in "
            f"{entry.bytes} bytes were written: {_RESTORE}"
        )
    return rows


def mend_rows(storage: Storage, entry: LedgerEntry) -> ShardRows:
    """Write a shard's rows and .idx again, from the headers of its tar. Raises PrepError, see
    ``scan_rows``.
    """
    rows = scan_rows(storage, entry)
    _publish_rows(storage, entry.index, rows)
    return rows


def _is_whole(storage: Storage, entry: LedgerEntry) -> bool:
    if storage.size(entry.shard) != entry.bytes:
        return False
    try:
        if not has_rows(storage, entry):
            mend_rows(storage, entry)
    except PrepError as error:
        logger.warning("%s", error)
        return False
    return True


def _fit(rows: ShardRows, entry: LedgerEntry) -> bool:
    found = (len(rows.keys), rows.num_parts, rows.end + len(END_OF_ARCHIVE))
    return found == (entry.num_samples, entry.num_parts, entry.bytes)


def _publish_rows(storage: Storage, index: int, rows: ShardRows) -> int:
    """Return how many bytes the rows have."""
    data = rows.to_bytes()
    publish_bytes(storage, idx_name(index), rows.idx())
    publish_bytes(storage, rows_name(index), data)
    return len(data)


def _entries(storage: Storage) -> Iterator[LedgerEntry]:
    return (_parse(storage, name) for name in storage.names(LEDGER_DIR) if name.endswith(".json"))


def _parse(storage: Storage, name: str) -> LedgerEntry:
    try:
        entry = LedgerEntry(**json.loads(storage.read(f"{LEDGER_DIR}/{name}")))
        _require_sound(entry, name)
        return entry
    except (ValueError, TypeError, RecursionError) as error:
        raise PrepError(
            f"{LEDGER_DIR}/{name} is not a ledger entry ({error}): remove it and run the same "
            "encode again, which redoes that shard"
        ) from error


def _require_sound(entry: LedgerEntry, name: str) -> None:
    """Raise ValueError for what ``record`` does not write: its numbers and names lead to files."""
    numbers = [getattr(entry, number) for number in _NUMBERS]
    for counts in (entry.rejects, entry.halved, entry.notes):
        numbers += counts.values() if isinstance(counts, dict) else [None]
    numbers.append(entry.mtime_ns or 0)
    if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
        raise ValueError(f"a number or its rejects are {numbers}")
    if name != f"{shard_stem(entry.index)}.json" or entry.shard not in ("", tar_name(entry.index)):
        raise ValueError(f"it is that of index {entry.index} and tar {entry.shard!r}")
    for checksum in (entry.sha256, entry.rejects_sha256, entry.content, entry.media):
        if not isinstance(checksum, str) or not _HEX.fullmatch(checksum):
            raise ValueError(f"a sha256 is {checksum!a}")
    for words in (entry.rejects, entry.halved, entry.notes):
        for word in words:
            word.encode()  # half a character of JSON's cannot be printed or digested
