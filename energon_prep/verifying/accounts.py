"""The books of a dataset of ours: planned = written + rejected, shard by shard and in total."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from energon_prep.errors import PrepError
from energon_prep.layout import PLAN, rejects_name, shard_stem
from energon_prep.plan.shards import read_plan
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.storage import LocalStorage

#: A shard by its index, or a file by its name.
Broken = int | str


def totals(entries: Sequence[LedgerEntry]) -> dict[str, int]:
    """Samples by what became of them."""
    return {
        "planned": sum(entry.num_planned for entry in entries),
        "written": sum(entry.num_written for entry in entries),
        "rejected": sum(entry.num_rejected for entry in entries),
    }


def account_problems(
    root: Path, entries: Sequence[LedgerEntry]
) -> Iterator[tuple[str, Broken | None]]:
    """Where plan, ledger and rejects do not agree; with what must be made again to mend it, if
    anything.
    """
    yield from _plan_problems(root, {entry.index: entry for entry in entries})
    for entry in entries:
        yield from _reject_problems(root, entry)


def _plan_problems(
    root: Path, entries: Mapping[int, LedgerEntry]
) -> Iterator[tuple[str, Broken | None]]:
    storage = LocalStorage(root)
    if not storage.exists(PLAN):
        yield f"{PLAN}: it is missing: whether every planned shard is there cannot be told", None
        return
    planned = set()
    try:
        for shard in read_plan(storage):
            planned.add(shard.index)
            entry = entries.get(shard.index)
            if entry is None:
                yield (
                    f"{shard_stem(shard.index)}: planned and not finished: run the same "
                    "encode again",
                    None,
                )
            elif entry.num_planned != shard.num_samples:
                stem = shard_stem(shard.index)
                yield (
                    f"{stem}: {shard.num_samples} samples are planned, in the ledger "
                    f"{entry.num_planned}",
                    shard.index,
                )
    except (OSError, PrepError) as error:
        yield f"{PLAN}: it cannot be read ({type(error).__name__}: {error})", PLAN
        return
    for index in sorted(entries.keys() - planned):
        yield f"{shard_stem(index)}: in the ledger and not planned", None


def _reject_problems(root: Path, entry: LedgerEntry) -> Iterator[tuple[str, Broken]]:
    """The shard's rejects, one JSON object a line, must be as many and have the reasons that the
    ledger counts.
    """
    name = rejects_name(entry.index)
    counted: Counter[str] = Counter()
    try:
        with (root / name).open("rb") as file:
            for line in file:
                reject = json.loads(line)
                counted[f"{reject['stage']}: {reject['reason']}"] += 1
    except FileNotFoundError:
        pass  # none were written: the ledger must count none
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        yield f"{name}: it cannot be read ({type(error).__name__}: {error})", entry.index
        return
    if counted.total() != entry.num_rejected:
        yield (
            f"{name}: it has {counted.total()} rejects, in the ledger {entry.num_rejected}",
            entry.index,
        )
    elif dict(counted) != entry.rejects:
        yield f"{name}: its reasons are not those the ledger counts", entry.index
