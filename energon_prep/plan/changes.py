"""Holds the plan of a listing against the one that is stored: what a source has become since a
destination was begun.
"""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from energon_prep.layout import PLAN
from energon_prep.plan.shards import PlanSummary, ShardPlan, from_line, read_plan, to_line
from energon_prep.samples import printable
from energon_prep.sources.base import Piece
from energon_prep.storage import Publication, Storage


@dataclass(kw_only=True)
class Changes:
    """What differs between the two, by shards; the new plan waits to be published."""

    #: of the same samples, some of whose files have other sizes
    resized: set[int] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)  #: of files whose contents are to decide
    first: str = ""  #: the first of ``resized``, in words
    num_samples: int = 0  #: in all shards of ``resized``
    is_other: bool = False  #: a shard is of other samples, and the rest was not looked at
    by_sample: bool = False  #: every sample was looked for (plan/growth.py), so that this is known:
    num_gone: int = 0  #: samples of the stored plan that are not in the source
    first_gone: str = ""
    num_new: int = 0  #: samples that follow behind those in the new plan
    first_new: str = ""
    refilled: int | None = None  #: the short last shard, where new samples come into it
    _known: BinaryIO | None = None
    summary: PlanSummary = field(default_factory=lambda: PlanSummary(split={}))  #: of the new plan
    publication: Publication
    _written: Any = field(default_factory=hashlib.sha256)

    @property
    def differ(self) -> bool:
        return bool(self.touched or self.resized or self.num_new)

    @property
    def sha256(self) -> str:
        """Of the new plan's file."""
        return str(self._written.hexdigest())

    def add(self, old: ShardPlan, new: ShardPlan) -> None:
        """Enter a shard of the old plan and that of the same samples in the new one."""
        if old == new:
            return
        if old.digest == new.digest:
            self.touched.add(new.index)
            return
        self.resized.add(new.index)
        moved = f"the samples of {printable(old.pieces[0].path)} begin elsewhere in it"
        others = itertools.chain.from_iterable(map(_other_sizes, old.pieces, new.pieces))
        self.first = self.first or f"{next(others, moved)}, in {place_of(old)}"
        self.num_samples += old.num_samples

    def keep(self, known: ShardPlan) -> None:
        """Note how the samples of a stored shard, and no others, lie now."""
        self._known = self._known or cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
        self._known.write(to_line(known))

    def known(self) -> Iterator[ShardPlan]:
        """What ``keep`` noted."""
        if self._known is not None:
            self._known.seek(0)
            yield from map(from_line, self._known)

    def write(self, new: ShardPlan) -> None:
        """Enter a shard into the new plan."""
        line = to_line(new)
        self.publication.file.write(line)
        self._written.update(line)
        self.summary.add(new)

    def close(self) -> None:
        self.publication.discard()
        if self._known is not None:
            self._known.close()


def compare_plan(storage: Storage, shards: Iterable[ShardPlan]) -> Changes:
    """Hold the plan of a run that goes on against the stored one: to the end, or to the first shard
    of other samples. The new one has its name only when its publication is published. Where the
    stored one is lost, contents are to decide.
    """
    has_old = storage.exists(PLAN)
    changes = Changes(publication=storage.create(PLAN))
    try:
        for old, new in itertools.zip_longest(read_plan(storage) if has_old else (), shards):
            if new is None or (has_old and (old is None or _samples(old) != _samples(new))):
                changes.is_other = True
                break
            if old is None:
                changes.touched.add(new.index)
            else:
                changes.add(old, new)
            changes.write(new)
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
    pieces = [(piece.path, piece.count) for piece in shard.pieces]
    return shard.index, shard.first_serial, shard.split, pieces


def changed_paths(old: ShardPlan, new: ShardPlan) -> set[str]:
    """Of the pieces of the same samples whose files, or what belongs to them, have other sizes."""
    pairs = zip(old.pieces, new.pieces, strict=True)
    return {before.path for before, now in pairs if any(_other_sizes(before, now))}


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
