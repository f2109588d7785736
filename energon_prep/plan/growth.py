"""A source that has grown: what a stored plan has stays in its place, and what is new follows
behind it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from energon_prep.errors import PrepError, UsageError
from energon_prep.layout import PLAN
from energon_prep.plan.changes import Changes, changed_paths, place_of
from energon_prep.plan.order import Listed, Spool, asking_shares, place_hash
from energon_prep.plan.shards import (
    Cut,
    ShardPlan,
    accounted,
    cut_shards,
    join,
    join_entries,
    plan_shard,
    read_plan,
)
from energon_prep.samples import printable
from energon_prep.sources.account import Account
from energon_prep.sources.base import Piece, Source
from energon_prep.splits import apportion
from energon_prep.storage import Storage

Places = NDArray[np.intp]  #: of samples in a listing, from 0


def grow_plan(storage: Storage, source: Source, cut: Cut, account: Account) -> Changes:
    """Look for every sample of the stored plan in the source's listing, wherever it is listed now,
    and plan what else there is behind them, as far as ``cut.limit`` has room for it.

    New samples are drawn, and put in order, by the rules of a new plan among themselves. The last
    shard is filled up with those of its split; all others stay as they are. Where samples are gone
    the new plan is not whole, and not to be published. Raises UsageError for a limit below what is
    planned.
    """
    seed = cut.shuffle or 0
    changes = Changes(publication=storage.create(PLAN), by_sample=True)
    try:
        with tempfile.TemporaryFile() as file:
            places = enumerate(accounted(source, account))
            spool = Spool(file, (Listed(place, entry) for place, entry in places), seed=seed)
            listing = _Listing(spool, seed=seed)
            last, resized = _take_known(listing, read_plan(storage), changes)
            if not changes.num_gone:
                if last is None:
                    raise PrepError(f"{PLAN} is empty: start over with --overwrite")
                _tell_apart(listing, resized, changes)
                _plan_new(listing, last, cut, changes)
    except BaseException:
        changes.close()
        raise
    return changes


class _Listing:
    """Samples by where they lie, each of which can be taken once."""

    def __init__(self, spool: Spool, *, seed: int) -> None:
        self._spool = spool
        self._seed = seed
        self._hashes = np.array(spool.hashes, np.uint64)
        self._by_hash = np.argsort(self._hashes, kind="stable")
        self._sorted = self._hashes[self._by_hash]
        self._is_taken = np.zeros(len(self._hashes), bool)

    def take(self, piece: Piece) -> list[Listed]:
        """The samples of a piece, as far as they are there."""
        first = self._find(piece)
        if first is None:
            return []
        stop = min(first + piece.count, len(self._hashes))
        taken = []
        for item in self._spool.read(range(first, stop)):
            if item.entry.path != piece.path or self._is_taken[item.place]:
                break
            self._is_taken[item.place] = True
            taken.append(item)
        return taken

    def left(self) -> Places:
        """Those that were not taken, as they are listed."""
        return np.flatnonzero(~self._is_taken)

    def drawn(self, places: Places) -> Places:
        """The same in the seed's order."""
        return places[np.argsort(self._hashes[places], kind="stable")]

    def read(self, places: Iterable[int]) -> Iterator[Listed]:
        return self._spool.read(places)

    def _find(self, piece: Piece) -> int | None:
        wanted = place_hash(self._seed, piece.path, piece.start)
        start = int(np.searchsorted(self._sorted, np.uint64(wanted)))
        for place in self._by_hash[start:]:
            if self._hashes[place] != wanted:
                break
            entry = next(self._spool.read([place])).entry
            if (entry.path, entry.start) == (piece.path, piece.start):
                return int(place)
        return None


class _Last(NamedTuple):
    """The last shard of the stored plan, with its samples."""

    plan: ShardPlan
    listed: list[Listed]


def _take_known(
    listing: _Listing, planned: Iterable[ShardPlan], changes: Changes
) -> tuple[_Last | None, list[tuple[ShardPlan, ShardPlan]]]:
    """Write all known shards but the last, which is returned; with those, as they were and are now,
    whose files have other sizes.
    """
    last: _Last | None = None
    resized = []
    for old in planned:
        listed: list[Listed] = []
        pieces = []
        for piece in old.pieces:
            some = listing.take(piece)
            listed += some
            pieces += [join(some)] if some else []
            if len(some) < piece.count:
                changes.num_gone += piece.count - len(some)
                changes.first_gone = changes.first_gone or (
                    f"{printable(piece.path)}, of {place_of(old)}"
                )
        if changes.num_gone:
            continue
        new = plan_shard(
            listed,
            tuple(pieces),
            index=old.index,
            first_serial=old.first_serial,
            split=old.split,
        )
        if new.digest != old.digest:
            resized.append((old, new))
        else:
            changes.add(old, new)
        changes.keep(new)
        if last is not None:
            changes.write(last.plan)
        last = _Last(new, listed)
    return last, resized


def _tell_apart(
    listing: _Listing, resized: Iterable[tuple[ShardPlan, ShardPlan]], changes: Changes
) -> None:
    """A file to which samples were added has another size for all that were in it already: their
    contents are to decide.
    """
    pairs = [(old, new, changed_paths(old, new)) for old, new in resized]
    others = {path for _, _, paths in pairs for path in paths}
    grown = set[str]()
    for item in listing.read(listing.left()) if others else ():
        if item.entry.path in others:
            grown.add(item.entry.path)
            if len(grown) == len(others):
                break
    for old, new, paths in pairs:
        if paths and paths <= grown:
            changes.touched.add(new.index)
        else:
            changes.add(old, new)


def _plan_new(listing: _Listing, last: _Last, cut: Cut, changes: Changes) -> None:
    """Write the last known shard, filled up, and those behind it."""
    plan = last.plan
    num_known = plan.first_serial + plan.num_samples
    if cut.limit is not None and cut.limit < num_known:
        raise UsageError(
            f"--limit {cut.limit}: {num_known} samples are planned in this destination already, "
            f"and a limit can be raised and not lowered: give {num_known} or more, write to "
            "another destination, or start over with --overwrite"
        )
    new = listing.left()
    new = new if cut.shuffle is None else listing.drawn(new)
    new = new if cut.limit is None else new[: cut.limit - num_known]
    changes.num_new = len(new)
    known = dict(changes.summary.split)
    known[plan.split] = known.get(plan.split, 0) + plan.num_samples
    parts = _shared_out(listing, new, cut, known)
    filling = parts[plan.split][: cut.samples_per_shard - plan.num_samples]
    parts[plan.split] = parts[plan.split][len(filling) :]
    if len(filling):
        changes.refilled = plan.index
        listed = [*last.listed, *listing.read(filling)]
        plan = plan_shard(
            listed,
            tuple(join_entries(listed)),
            index=plan.index,
            first_serial=plan.first_serial,
            split=plan.split,
        )
    changes.write(plan)
    if len(new):
        changes.first_new = printable(next(listing.read(new[:1])).entry.path)
    rest = ((name, listing.read(places)) for name, places in parts.items())
    for shard in cut_shards(
        rest,
        cut.samples_per_shard,
        index=plan.index + 1,
        serial=plan.first_serial + plan.num_samples,
    ):
        changes.write(shard)


def _shared_out(
    listing: _Listing, new: Places, cut: Cut, known: Mapping[str, int]
) -> dict[str, Places]:
    """New samples by split, so that old and new ones together have the shares."""
    shares = asking_shares(cut.split)
    if len(shares) == 1:
        return dict.fromkeys(shares, new)
    counts = [0] * len(shares)
    if len(new):
        goals = apportion(sum(known.values()) + len(new), [*shares.values()])
        lacking = [
            max(0, goal - known.get(name, 0)) for name, goal in zip(shares, goals, strict=True)
        ]
        counts = apportion(len(new), lacking)
    drawn, start = listing.drawn(new), 0
    parts = {}
    for name, count in zip(shares, counts, strict=True):
        places = drawn[start : start + count]
        parts[name] = places if cut.shuffle is not None else np.sort(places)
        start += count
    return parts
