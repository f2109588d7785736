"""Whether the samples and rejects of a shard are those that were planned for it, each once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from energon_prep.layout import key_serial, rejects_name
from energon_prep.shards.head import file_sha256
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.storage import LocalStorage, Storage


def identity_problems(
    root: Path,
    entry: LedgerEntry,
    planned: range | None,
    keys: Iterable[str] | None,
    *,
    where: str,
) -> Iterator[str]:
    """Where the shard's rejects are not those that the ledger counts, and where their numbers and
    those of ``keys`` are not exactly the ``planned`` ones; None: that cannot be told. ``where``: to
    be named of keys.
    """
    name = rejects_name(entry.index)
    serials = None
    try:
        serials, reasons = _read_rejects(LocalStorage(root), name, entry.rejects_sha256)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        yield f"{name}: it cannot be read ({type(error).__name__}: {error})"
    else:
        if serials.total() != entry.num_rejected:
            yield f"{name}: it has {serials.total()} rejects, in the ledger {entry.num_rejected}"
        elif reasons != entry.rejects:
            yield f"{name}: its reasons are not those the ledger counts"
    if planned is not None and keys is not None:
        for problem in _number_problems(entry, planned, keys, serials):
            yield f"{where}: {problem}"


def _read_rejects(storage: Storage, name: str, sha256: str) -> tuple[Counter[int], Counter[str]]:
    """The rejected numbers and the reasons, "stage: reason", of a shard's file of rejects, which
    has one JSON object a line; no file: none. Raises ValueError or OSError if it is not the file
    that was written.
    """
    serials, reasons = Counter[int](), Counter[str]()
    if storage.exists(name):
        if file_sha256(storage, name) != sha256:  # in pieces: it may have any size
            raise ValueError("its sha256 is not the ledger's")
        with storage.open(name) as file:
            for line in file:
                reject = json.loads(line)
                serials[int(reject["serial"])] += 1
                reasons[f"{reject['stage']}: {reject['reason']}"] += 1
    return serials, reasons


def _number_problems(
    entry: LedgerEntry, planned: range, keys: Iterable[str], rejected: Counter[int] | None
) -> Iterator[str]:
    """``rejected``: None where that cannot be read; without it nothing can be said of the rest."""
    serials = {key: key_serial(key) for key in keys}
    strange = [key for key, serial in serials.items() if serial is None or serial not in planned]
    span = f"{planned.start} to {planned.stop - 1}"
    if strange:
        yield (
            f"{strange[0]!a}: the key is none of the shard's, whose planned numbers are {span}"
            + _and_more(len(strange))
        )
    if rejected is None:
        return
    written = {serial for serial in serials.values() if serial is not None}
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
