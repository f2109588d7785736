"""Station 1, plan: the only place where work is cut. A source's samples, in order, become shards of equal size.

The plan depends on the source and on ``samples_per_shard`` alone, never on who will do the work.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from energon_prep.errors import PrepError
from energon_prep.sources.base import Entry, Piece, Source
from energon_prep.storage import PRIVATE_DIR, Storage

PLAN = f"{PRIVATE_DIR}/plan.jsonl"


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """What one shard will be made of: the unit of work, of resume and of distribution."""

    index: int
    first_serial: int  #: of its first sample in the whole dataset
    pieces: tuple[Piece, ...]
    digest: str  #: of its entries, file sizes included, so that a changed source shows

    @property
    def num_samples(self) -> int:
        return sum(piece.count for piece in self.pieces)


@dataclass(frozen=True, kw_only=True)
class PlanSummary:
    num_shards: int
    num_samples: int


class StoredPlan:
    """A plan that an earlier run completed."""

    complete = True

    def __init__(self, storage: Storage, summary: PlanSummary) -> None:
        self._storage = storage
        self.summary = summary

    def shards(self) -> Iterator[ShardPlan]:
        return read_plan(self._storage)


def make_plan(source: Source, *, samples_per_shard: int, limit: int | None = None) -> Iterator[ShardPlan]:
    """Cut the source's listing, streaming it: the last shard takes what is left, nothing is dropped."""
    entries = itertools.islice(source.list(), limit)
    for index in itertools.count():
        shard = list(itertools.islice(entries, samples_per_shard))
        if not shard:
            return
        lines = "".join(f"{entry.path}\0{entry.start}\0{entry.size}\n" for entry in shard)
        yield ShardPlan(
            index=index,
            first_serial=index * samples_per_shard,
            pieces=tuple(join_entries(shard)),
            digest=hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()[:16],
        )


def join_entries(entries: Iterable[Entry]) -> Iterator[Piece]:
    """Neighbouring entries of one file become one piece; start and order are the listing's."""
    for path, neighbours in itertools.groupby(entries, key=lambda entry: entry.path):
        starts = [entry.start for entry in neighbours]
        yield Piece(path, starts[0], len(starts))


def compare_plan(storage: Storage, shards: Iterable[ShardPlan]) -> PlanSummary:
    """Hold the plan of a resumed run against the stored one. Raises PrepError at the first shard that differs."""
    num_shards = num_samples = 0
    for old, new in itertools.zip_longest(read_plan(storage), shards):
        if old != new:
            raise source_changed(old, new)
        num_shards += 1
        num_samples += new.num_samples
    return PlanSummary(num_shards=num_shards, num_samples=num_samples)


def read_plan(storage: Storage) -> Iterator[ShardPlan]:
    """The stored plan. Raises PrepError if it is damaged."""
    with storage.open(PLAN) as file:
        yield from map(from_line, file)


def from_line(line: bytes) -> ShardPlan:
    """A line of the stored plan. Raises PrepError if it is damaged."""
    try:
        fields = json.loads(line)
        fields["pieces"] = tuple(Piece(*piece) for piece in fields["pieces"])
        plan = ShardPlan(**fields)
        numbers = [number for piece in plan.pieces for number in (piece.start, piece.count)]
        if not plan.pieces or any(type(number) is not int for number in (plan.index, plan.first_serial, *numbers)):
            raise ValueError("a number is missing")
        return plan
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PrepError(
            f"{PLAN} is damaged ({type(error).__name__}: {error}): run energon-prep verify --mark-bad, "
            "then the same encode again"
        ) from error


def to_line(shard: ShardPlan) -> bytes:
    pieces = [[piece.path, piece.start, piece.count] for piece in shard.pieces]
    fields = {
        "index": shard.index,
        "first_serial": shard.first_serial,
        "pieces": pieces,
        "digest": shard.digest,
    }
    return json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"


def source_changed(old: ShardPlan | None, new: ShardPlan | None) -> PrepError:
    """What to raise where the plan of this run differs from the stored one."""
    return PrepError(
        f"the source is not what this destination was begun with: {_difference(old, new)}. "
        "Restore the source, write to another destination, or start over with --overwrite"
    )


def _difference(old: ShardPlan | None, new: ShardPlan | None) -> str:
    if old is None or new is None:
        shard = old or new
        assert shard is not None
        return f"there are {'fewer' if new is None else 'more'} samples from number {shard.first_serial} on"
    for before, now in itertools.zip_longest(old.pieces, new.pieces):
        if before != now:
            where = (now or before).path
            return f"shard {old.index} is now made of other files or rows, first at {where}"
    return f"files of shard {old.index} (from {old.pieces[0].path} on) have other sizes"
