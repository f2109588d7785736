"""Holds the plan of a listing against the one that is stored: what a source has become since a
destination was begun.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from energon_prep.layout import PLAN
from energon_prep.plan.shards import PlanSummary, ShardPlan, read_plan, to_line
from energon_prep.sources.base import Piece
from energon_prep.sources.walk import printable
from energon_prep.storage import Publication, Storage


@dataclass(kw_only=True)
class Changes:
    """What differs between the two, by shards; the new plan waits to be published."""

    #: of the same samples, some of whose files have other sizes
    resized: set[int] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)  #: of files of the same sizes and other times
    num_regrouped: int = 0  #: shards that are of other samples
    first: str = ""  #: the first difference but for times, in words
    num_samples: int = 0  #: in all shards that differ in more than times
    summary: PlanSummary = field(default_factory=lambda: PlanSummary(split={}))  #: of the new plan
    publication: Publication

    @property
    def num_shards(self) -> int:
        return len(self.resized) + self.num_regrouped

    def add(self, old: ShardPlan | None, new: ShardPlan | None) -> None:
        """Enter a shard of the old plan and that in its place in the new one, of which one may be
        missing.
        """
        shard = old or new
        assert shard is not None
        if old == new:
            return
        if old is not None and new is not None and _samples(old) == _samples(new):
            if old.digest == new.digest:
                self.touched.add(new.index)
                return
            self.resized.add(new.index)
        else:
            self.num_regrouped += 1
        self.first = self.first or _difference(old, new)
        self.num_samples += shard.num_samples

    def publish(self) -> None:
        """Store the new plan in place of the old one, if they differ."""
        if self.touched or self.num_shards:
            self.publication.publish()

    def close(self) -> None:
        self.publication.discard()


def compare_plan(storage: Storage, shards: Iterable[ShardPlan]) -> Changes:
    """Hold the plan of a run that goes on against the stored one, to the end. The new one has its
    name only after ``Changes.publish``. Where the stored one is lost, contents are to decide.
    """
    has_old = storage.exists(PLAN)
    changes = Changes(publication=storage.create(PLAN))
    try:
        for old, new in itertools.zip_longest(read_plan(storage) if has_old else (), shards):
            if has_old:
                changes.add(old, new)
            elif new is not None:
                changes.touched.add(new.index)
            if new is not None:
                changes.publication.file.write(to_line(new))
                changes.summary.add(new)
    except BaseException:
        changes.close()
        raise
    return changes


def place_of(shard: ShardPlan) -> str:
    """Which samples a shard is of, in words."""
    last = shard.first_serial + shard.num_samples - 1
    paths = dict.fromkeys(printable(piece.path) for piece in (shard.pieces[0], shard.pieces[-1]))
    return f"shard {shard.index} (samples {shard.first_serial} to {last}, {' to '.join(paths)})"


def _samples(shard: ShardPlan) -> tuple[object, ...]:
    """Which samples a shard is of, wherever they begin in their files."""
    return shard.index, shard.first_serial, shard.split, list(map(_rows, shard.pieces))


def _rows(piece: Piece) -> tuple[str, int]:
    return piece.path, piece.count


def _difference(old: ShardPlan | None, new: ShardPlan | None) -> str:
    if old is None or new is None:
        shard = old or new
        assert shard is not None
        return (
            f"there are {'fewer' if new is None else 'more'} samples from number "
            f"{shard.first_serial} on"
        )
    pieces = list(itertools.zip_longest(old.pieces, new.pieces))
    for before, now in pieces:
        if before is None or now is None or _rows(before) != _rows(now):
            where = printable((now or before).path)
            return f"shard {old.index} is now made of other files or rows, first at {where}"
    moved = f"the samples of {printable(old.pieces[0].path)} begin elsewhere in it"
    others = itertools.chain.from_iterable(itertools.starmap(_other_sizes, pieces))
    return f"{next(others, moved)}, in {place_of(old)}"


def _other_sizes(old: Piece, new: Piece) -> Iterator[str]:
    """The files of a piece that have other sizes, came or went, in words."""
    if old.size != new.size:
        yield f"{printable(old.path)} has {new.size} bytes, and had {old.size}"
    before = {file.path: file.size for file in old.beside}
    now = {file.path: file.size for file in new.beside}
    for path in dict.fromkeys((*before, *now)):
        if path not in now:
            yield f"{printable(path)} is gone"
        elif path not in before:
            yield f"{printable(path)} is new beside {printable(old.path)}"
        elif before[path] != now[path]:
            yield f"{printable(path)} has {now[path]} bytes, and had {before[path]}"
