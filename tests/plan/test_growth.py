from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energon_prep.errors import UsageError
from energon_prep.plan.changes import Changes
from energon_prep.plan.growth import grow_plan
from energon_prep.plan.shards import Cut, ShardPlan, make_plan, read_plan, write_plan
from energon_prep.samples import PendingSample
from energon_prep.sources.account import Account
from energon_prep.sources.base import Entry, Piece
from energon_prep.splits import Ratio
from energon_prep.storage import LocalStorage

Place = tuple[str, int]


class Listing:
    """A source that is its listing: of each file the places of its samples."""

    def __init__(self, files: dict[str, int], sizes: dict[str, int] | None = None) -> None:
        self._files = files
        self._sizes = sizes or {}

    def describe(self) -> dict[str, Any]:
        return {"kind": "listing"}

    def list(self, account: Account) -> Iterator[Entry]:
        for path, count in sorted(self._files.items()):
            for row in range(count):
                yield Entry(path, 100 * row, self._sizes.get(path, 7))

    def read(self, piece: Piece) -> Iterator[PendingSample]:
        raise NotImplementedError


def store(storage: LocalStorage, files: dict[str, int], cut: Cut) -> list[ShardPlan]:
    write_plan(storage, make_plan(Listing(files), cut), lambda shard: None)
    return list(read_plan(storage))


def grow(storage: LocalStorage, listing: Listing, cut: Cut) -> tuple[Changes, list[ShardPlan]]:
    with closing(grow_plan(storage, listing, cut, Account())) as changes:
        if not changes.num_gone:
            changes.publication.publish()
    return changes, list(read_plan(storage))


def samples(shards: list[ShardPlan]) -> list[Place]:
    return [
        (piece.path, piece.start + 100 * row)
        for shard in shards
        for piece in shard.pieces
        for row in range(piece.count)
    ]


FILES = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 9), min_size=1)


@settings(max_examples=60, deadline=None)  # each writes and syncs
@given(
    FILES,
    FILES,
    st.integers(1, 12),
    st.one_of(st.none(), st.integers(0, 2)),
    st.sampled_from([None, (1.0, 0.0, 0.0), (8.0, 1.0, 1.0), (1.0, 0.0, 1.0)]),
)
def test_what_was_planned_stays_and_what_is_new_follows_once(
    tmp_path_factory: pytest.TempPathFactory,
    files: dict[str, int],
    more: dict[str, int],
    size: int,
    seed: int | None,
    split: Ratio | None,
) -> None:
    storage = LocalStorage(tmp_path_factory.mktemp("dst"))
    files = {**files, "z": 3}
    grown = {path: files.get(path, 0) + more.get(path, 0) for path in {*files, *more}}
    cut = Cut(samples_per_shard=size, shuffle=seed, split=split)
    before = store(storage, files, cut)
    changes, after = grow(storage, Listing(grown), cut)
    assert changes.num_new == sum(more.values()) and not changes.num_gone
    kept = before if changes.refilled is None else before[:-1]
    assert after[: len(kept)] == kept
    assert samples(after)[: len(samples(before))] == samples(before)
    assert sorted(samples(after)) == sorted(samples([*make_plan(Listing(grown), cut)]))
    serial = 0
    for number, shard in enumerate(after):
        assert (shard.index, shard.first_serial) == (number, serial)
        assert 0 < shard.num_samples <= size
        serial += shard.num_samples
    if split is not None:
        assert {shard.split for shard in after} == {shard.split for shard in before}
    again, same = grow(storage, Listing(grown), cut)
    assert (again.num_new, again.differ, same) == (0, False, after)


def test_the_shares_hold_for_old_and_new_samples_together(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    cut = Cut(samples_per_shard=10, split=(8, 1, 1))
    store(storage, {"a": 100}, cut)
    for count in (101, 150, 1000):
        changes, after = grow(storage, Listing({"a": count}), cut)
        split = changes.summary.split
        assert sum(split.values()) == count
        assert abs(split["train"] - 0.8 * count) <= 1 and abs(split["val"] - 0.1 * count) <= 1
    assert {shard.split for shard in after[30:]} == {"train", "val", "test"}


def test_a_short_last_shard_is_filled_up_as_a_new_plan_would(tmp_path: Path) -> None:
    storage, cut = LocalStorage(tmp_path), Cut(samples_per_shard=4)
    store(storage, {"a": 4, "b": 2}, cut)
    changes, after = grow(storage, Listing({"a": 4, "b": 2, "c": 7}), cut)
    assert (changes.refilled, changes.num_new, changes.first_new) == (1, 7, "c")
    assert after == list(make_plan(Listing({"a": 4, "b": 2, "c": 7}), cut))


def test_a_limit_is_raised_and_not_lowered(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    for seed in (None, 3):
        store(storage, {"a": 20}, Cut(samples_per_shard=4, limit=6, shuffle=seed))
        for limit in (6, 15, None):
            cut = Cut(samples_per_shard=4, limit=limit, shuffle=seed)
            _, after = grow(storage, Listing({"a": 20}), cut)
            assert after == list(make_plan(Listing({"a": 20}), cut))
        with pytest.raises(UsageError, match=r"--limit 15: 20 samples are planned .* already"):
            grow(storage, Listing({"a": 20}), Cut(samples_per_shard=4, limit=15, shuffle=seed))


def test_samples_that_are_gone_are_counted(tmp_path: Path) -> None:
    storage, cut = LocalStorage(tmp_path), Cut(samples_per_shard=4)
    before = store(storage, {"a": 2, "b": 3, "c": 2}, cut)
    changes, after = grow(storage, Listing({"a": 2, "b": 1, "d": 9}), cut)
    assert changes.num_gone == 4 and after == before
    assert changes.first_gone == "b, of shard 0 (samples 0 to 3, a to b)"


def test_only_of_files_that_grew_contents_decide(tmp_path: Path) -> None:
    storage, cut = LocalStorage(tmp_path), Cut(samples_per_shard=2)
    store(storage, {"a": 2, "b": 2}, cut)
    listing = Listing({"a": 3, "b": 2}, {"a": 8})
    assert grow(storage, listing, cut)[0].touched == {0}
    changes, _ = grow(storage, Listing({"a": 3, "b": 2}, {"a": 8, "b": 9}), cut)
    assert (changes.touched, changes.resized) == (set(), {1})
