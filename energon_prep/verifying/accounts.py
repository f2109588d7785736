"""The books of a dataset of ours: planned = written + rejected, shard by shard and in total."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from energon_prep.errors import PrepError
from energon_prep.layout import PLAN, shard_stem
from energon_prep.plan.shards import read_plan
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.storage import LocalStorage
from energon_prep.verifying.identity import identity_problems

#: A shard by its index, or a file by its name.
Broken = int | str


def totals(entries: Sequence[LedgerEntry]) -> dict[str, int]:
    """Samples by what became of them."""
    return {
        "planned": sum(entry.num_planned for entry in entries),
        "written": sum(entry.num_written for entry in entries),
        "rejected": sum(entry.num_rejected for entry in entries),
    }


@dataclass(kw_only=True)
class Books:
    """Plan, ledger and rejects of a dataset, held against each other."""

    root: Path
    entries: Sequence[LedgerEntry]
    tars: Collection[str]  #: that there are
    #: by shard, the numbers of its samples; without the shards that are not planned, and empty
    #: where the plan is not the one that was written
    planned: dict[int, range] = field(default_factory=dict)

    def problems(self, *, plan_fits: bool) -> Iterator[tuple[str, Broken | None]]:
        """Where they do not agree; with what must be made again to mend it, if anything."""
        yield from self._plan_problems({entry.index: entry for entry in self.entries})
        if not plan_fits:
            self.planned.clear()
        for entry in self.entries:
            if entry.shard in self.tars:  # it is checked with that
                continue
            for problem in identity_problems(
                self.root,
                entry,
                self.planned.get(entry.index),
                None if entry.shard else (),
                where=shard_stem(entry.index),
            ):
                yield problem, entry.index

    def _plan_problems(
        self, entries: Mapping[int, LedgerEntry]
    ) -> Iterator[tuple[str, Broken | None]]:
        storage = LocalStorage(self.root)
        if not storage.exists(PLAN):
            yield (
                f"{PLAN}: it is missing: whether every planned shard is there cannot be told: run "
                "the same encode again",
                None,
            )
            return
        serial = 0
        try:
            for number, shard in enumerate(read_plan(storage)):
                stem = shard_stem(shard.index)
                if (shard.index, shard.first_serial) != (number, serial):
                    yield f"{PLAN}: shard {number} is not where the one before it ends", PLAN
                    return
                serial += shard.num_samples
                self.planned[shard.index] = range(shard.first_serial, serial)
                entry = entries.get(shard.index)
                if entry is None:
                    yield f"{stem}: planned and not finished: run the same encode again", None
                elif entry.num_planned != shard.num_samples:
                    yield (
                        f"{stem}: {shard.num_samples} samples are planned, in the ledger "
                        f"{entry.num_planned}",
                        shard.index,
                    )
        except (OSError, PrepError) as error:
            yield f"{PLAN}: it cannot be read ({type(error).__name__}: {error})", PLAN
            return
        for index in sorted(entries.keys() - self.planned.keys()):
            yield f"{shard_stem(index)}: in the ledger and not planned", None
