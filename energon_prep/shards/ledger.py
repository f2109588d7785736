"""Station 6, shards: the ledger, what is known about every finished shard.

A shard is finished when its ledger entry exists; the entry is written after the tar and the rejects.

    DST/.energon-prep/ledger/shard_000000.json     one LedgerEntry
    DST/.energon-prep/rejects/shard_000000.jsonl   one Reject a line; absent if there is none
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from energon_prep.errors import PrepError
from energon_prep.samples import Reject
from energon_prep.storage import PRIVATE_DIR, LocalStorage, Storage, publish_bytes

LEDGER_DIR = f"{PRIVATE_DIR}/ledger"
REJECTS_DIR = f"{PRIVATE_DIR}/rejects"


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One finished shard."""

    index: int
    shard: str  #: file name; "" if every sample was rejected and there is no tar
    num_planned: int
    num_written: int
    num_samples: int  #: in the tar: one for each raw sample written, more where a video gave several clips
    num_rejected: int
    num_truncated: int = 0  #: written samples whose caption was cut to the recipe's max_tokens
    bytes: int
    sha256: str
    rejects: dict[str, int]  #: "stage: reason" -> count

    def __post_init__(self) -> None:
        if self.num_planned != self.num_written + self.num_rejected:
            raise PrepError(
                f"shard {self.index}: {self.num_planned} samples planned, {self.num_written} written and "
                f"{self.num_rejected} rejected: some are unaccounted for"
            )


def shard_stem(index: int) -> str:
    return f"shard_{index:06d}"


def count_rejects(rejects: Sequence[Reject]) -> dict[str, int]:
    return dict(sorted(Counter(f"{reject.stage}: {reject.reason}" for reject in rejects).items()))


def record(storage: Storage, entry: LedgerEntry, rejects: Sequence[Reject]) -> None:
    """Declare a shard finished. Its tar must be published already."""
    stem = shard_stem(entry.index)
    if rejects:
        lines = (json.dumps(dataclasses.asdict(reject)) + "\n" for reject in rejects)
        publish_bytes(storage, f"{REJECTS_DIR}/{stem}.jsonl", "".join(lines).encode())
    else:
        storage.remove(f"{REJECTS_DIR}/{stem}.jsonl")
    publish_bytes(storage, f"{LEDGER_DIR}/{stem}.json", (json.dumps(dataclasses.asdict(entry)) + "\n").encode())


def finished(storage: Storage) -> dict[int, LedgerEntry]:
    """The finished shards by index.

    An entry whose tar is missing or has another size does not count: that shard is encoded again.
    """
    entries = (_parse(storage, name) for name in storage.names(LEDGER_DIR))
    return {entry.index: entry for entry in entries if not entry.shard or storage.size(entry.shard) == entry.bytes}


def read_ledger(dest: Path) -> list[LedgerEntry] | None:
    """Every entry of a dataset, by index, whatever became of the tars; None if this tool did not write it."""
    storage = LocalStorage(dest)
    if not storage.exists(LEDGER_DIR):
        return None
    return [_parse(storage, name) for name in storage.names(LEDGER_DIR)]


def _parse(storage: Storage, name: str) -> LedgerEntry:
    try:
        return LedgerEntry(**json.loads(storage.read(f"{LEDGER_DIR}/{name}")))
    except (ValueError, TypeError) as error:
        raise PrepError(
            f"{LEDGER_DIR}/{name} is not a ledger entry ({error}): remove it and run the same encode again, "
            "which redoes that shard"
        ) from error
