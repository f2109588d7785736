"""Whether the samples of a shard are those that were planned for it, each once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from energon_prep.layout import key_serial, rejects_name
from energon_prep.shards.head import file_sha256
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.storage import LocalStorage


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """The rejects of one shard."""

    serials: tuple[int, ...]
    reasons: dict[str, int]  #: "stage: reason" -> count


def read_rejects(root: Path, entry: LedgerEntry) -> Rejected:
    """What lies in a shard's file of rejects, one JSON object a line; no file: none. Raises
    ValueError or OSError if it is not the file that was written.
    """
    storage, name = LocalStorage(root), rejects_name(entry.index)
    serials, reasons = [], Counter[str]()
    if storage.exists(name):
        if file_sha256(storage, name) != entry.rejects_sha256:  # in pieces: it may have any size
            raise ValueError("its sha256 is not the ledger's")
        with storage.open(name) as file:
            for line in file:
                reject = json.loads(line)
                serials.append(int(reject["serial"]))
                reasons[f"{reject['stage']}: {reject['reason']}"] += 1
    return Rejected(serials=tuple(serials), reasons=dict(reasons))


def identity_problems(
    root: Path, entry: LedgerEntry, planned: range, keys: Iterable[str]
) -> Iterator[str]:
    """Where the numbers of ``keys`` and of the rejects are not exactly the ``planned`` ones.

    Rejects that cannot be read are told elsewhere: without them nothing can be said of the rest.
    """
    serials = {key: key_serial(key) for key in keys}
    strange = [key for key, serial in serials.items() if serial is None or serial not in planned]
    span = f"{planned.start} to {planned.stop - 1}"
    if strange:
        yield (
            f"{strange[0]!a}: the key is none of the shard's, whose planned numbers are {span}"
            + _and_more(len(strange))
        )
    try:
        rejects = read_rejects(root, entry)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return
    written = {serial for serial in serials.values() if serial is not None}
    rejected = Counter(rejects.serials)
    outside = sorted(serial for serial in rejected if serial not in planned)
    if outside:
        yield (
            f"rejected number {outside[0]} is none of the planned {span}" + _and_more(len(outside))
        )
    twice = sorted(n for n, times in rejected.items() if times > 1 or n in written)
    if twice:
        yield f"number {twice[0]} is accounted for twice" + _and_more(len(twice))
    lost = [number for number in planned if number not in written and number not in rejected]
    if lost:
        yield f"planned number {lost[0]} is neither written nor rejected" + _and_more(len(lost))
    if not strange and len(written) != entry.num_written:
        yield f"it has {len(written)} of the planned samples, in the ledger {entry.num_written}"


def _and_more(number: int) -> str:
    return f", and {number - 1} more" if number > 1 else ""
