"""Holds a dataset against its source: every sample is read again, and samples are looked for that
the one has and the other has not.
"""

from __future__ import annotations

import dataclasses
import itertools
from array import array
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from energon_prep.device.devices import num_cpus
from energon_prep.errors import PrepError
from energon_prep.pipeline.again import Again, in_parallel, read_again
from energon_prep.plan.changes import place_of
from energon_prep.plan.shards import ShardPlan, read_plan
from energon_prep.plugins import refuse_other_module
from energon_prep.run.manifest import read_run
from energon_prep.samples import printable
from energon_prep.shards.ledger import read_ledger, unread_serials
from energon_prep.sources.account import Account
from energon_prep.sources.base import Piece, Source
from energon_prep.sources.detect import SOURCES, open_source
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.path_set import path_hash
from energon_prep.storage import LocalStorage
from energon_prep.verifying.report import VerifyReport


@dataclass(kw_only=True)
class SourceCheck:
    """Samples of a dataset and of its source; the first of each kind in words."""

    num_same: int = 0
    num_changed: int = 0  #: in all shards whose contents differ
    num_missing: int = 0  #: planned, and not in the source
    num_extra: int = 0  #: in the source, and not planned
    first_changed: str = ""
    first_missing: str = ""
    first_extra: str = ""
    notes: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        return {
            "same": self.num_same,
            "changed": self.num_changed,
            "missing": self.num_missing,
            "extra": self.num_extra,
        }

    def problems(self) -> list[str]:
        found = (
            ("samples missing from it", self.num_missing, self.first_missing),
            ("samples in shards that differ from it", self.num_changed, self.first_changed),
            ("samples that the dataset has not", self.num_extra, self.first_extra),
        )
        return [
            f"the source: {what}: {num}, the first: {first}" for what, num, first in found if num
        ]


class MadeOf(NamedTuple):
    """What a dataset was made of."""

    source: Source
    limit: int | None  #: of its samples; with one, what else the source has is not looked at


def source_of(root: Path, src: str | Path) -> MadeOf:
    """What is at ``src``, read as the source was when the dataset was made. Raises PrepError."""
    run = read_run(LocalStorage(root))
    if run is None:
        raise PrepError(f"--source: {root} has no run.json that says how its source is read")
    options = dict(run["source"])
    kind, _ = options.pop("kind", None), options.pop("root", None)
    if kind not in SOURCES:
        refuse_other_module("source", str(kind), options.pop("plugin", {}), outside=root)
        options.pop("own", None)
    source = open_source(src, kind=str(kind), options=SourceOptions.parse(options))
    return MadeOf(source, run["cut"]["limit"])


def with_source(
    report: VerifyReport,
    root: Path,
    made_of: MadeOf,
    *,
    progress: Callable[[int, int], None] | None,
) -> VerifyReport:
    """The report of a dataset, and what its source shows besides. ``progress``: called with (shards
    read, shards in all).
    """
    try:
        check = _check(root, made_of, progress)
    except (OSError, PrepError) as error:  # of plan and ledger, which were told
        check = SourceCheck(notes=(f"the source was not compared: {error}",))
    found = check.problems()
    num = report.num_problems + len(found)
    return dataclasses.replace(
        report,
        ok=not num,
        problems=(*report.problems, *found),
        num_problems=num,
        notes=(*report.notes, *check.notes),
        source=check.counts(),
    )


def _check(root: Path, made_of: MadeOf, progress: Callable[[int, int], None] | None) -> SourceCheck:
    """Raises OSError or PrepError if there is no sound plan or ledger."""
    storage = LocalStorage(root)
    check, planned = SourceCheck(), _Planned(p for s in read_plan(storage) for p in s.pieces)
    try:
        _list(made_of.source, planned, check)
    except PrepError as error:
        check.notes += (f"the source could not be listed to its end: {error}",)
    if made_of.limit is not None and check.num_extra:
        check.num_extra = 0
        check.notes += ("with --limit: what else the source has was not looked at",)
    check.num_missing = planned.num_left
    if check.num_missing:
        pieces = (piece for shard in read_plan(storage) for piece in shard.pieces)
        check.first_missing = next(printable(p.path) for p in pieces if planned.lacks(p.path))
    _compare(storage, made_of.source, planned, check, progress)
    return check


def _compare(
    storage: LocalStorage,
    source: Source,
    planned: _Planned,
    check: SourceCheck,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Read the samples of all finished shards again."""
    ledger = read_ledger(storage.root) or ()
    known = {entry.index: entry for entry in ledger if entry.content}

    def read(shard: ShardPlan) -> Again:
        return _read(shard, source, unread_serials(storage, known[shard.index]))

    shards = in_parallel(read, read_plan(storage), known, num_cpus())
    num_gone = 0
    for number, (shard, (content, _, fault)) in enumerate(shards, 1):
        if content == known[shard.index].content:
            check.num_same += shard.num_samples
        elif fault and any(planned.is_gone(piece.path) for piece in shard.pieces):
            num_gone += 1
        else:
            check.num_changed += shard.num_samples
            where = place_of(shard)
            check.first_changed = check.first_changed or (f"{where}: {fault}" if fault else where)
        if progress is not None:
            progress(number, len(known))
    if num_gone:
        check.notes += (f"not compared: {num_gone} shards of which samples are missing",)


def _list(source: Source, planned: _Planned, check: SourceCheck) -> None:
    entries = source.list(Account())
    for path, group in itertools.groupby(entries, key=lambda entry: entry.path):
        num = planned.take(path, sum(1 for _ in group))
        check.num_extra += num
        if num and not check.first_extra:
            check.first_extra = printable(path)


def _read(shard: ShardPlan, source: Source, unread: Collection[int]) -> Again:
    # What a file was when it was listed is not asked here: its contents are.
    pieces = tuple(Piece(piece.path, piece.start, piece.count) for piece in shard.pieces)
    try:
        return read_again(dataclasses.replace(shard, pieces=pieces), source, unread)
    except PrepError as error:
        return Again("", "", str(error))


class _Planned:
    """How many samples of each file are planned, and how many of them were not found yet; 24 bytes
    a file.
    """

    def __init__(self, pieces: Iterable[Piece]) -> None:
        hashes, counts = array("Q"), array("Q")
        for piece in pieces:
            hashes.append(path_hash(piece.path))
            counts.append(piece.count)
        self._hashes, places = np.unique(np.array(hashes, np.uint64), return_inverse=True)
        self._all = np.bincount(places, weights=counts).astype(np.int64)
        self._left = self._all.copy()

    def take(self, path: str, num: int) -> int:
        """Find ``num`` samples of a file; return how many of them are not planned."""
        place = self._place(path)
        if place is None:
            return num
        found = min(num, int(self._left[place]))
        self._left[place] -= found
        return num - found

    @property
    def num_left(self) -> int:
        return int(self._left.sum())

    def lacks(self, path: str) -> bool:
        """Whether samples of a planned file were not found."""
        place = self._place(path)
        return place is not None and bool(self._left[place])

    def is_gone(self, path: str) -> bool:
        """Whether none was found."""
        place = self._place(path)
        return place is not None and bool(self._left[place] == self._all[place])

    def _place(self, path: str) -> int | None:
        wanted = np.uint64(path_hash(path))
        place = int(np.searchsorted(self._hashes, wanted))
        return place if place < len(self._hashes) and self._hashes[place] == wanted else None
