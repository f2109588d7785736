from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energon_prep.errors import PrepError
from energon_prep.layout import PLAN
from energon_prep.plan.changes import Changes, compare_plan
from energon_prep.plan.shards import (
    Cut,
    PlanSummary,
    ShardPlan,
    make_plan,
    read_plan,
    write_plan,
)
from energon_prep.samples import PendingSample
from energon_prep.sources.account import Account
from energon_prep.sources.base import Entry, Piece
from energon_prep.splits import Ratio
from energon_prep.storage import LocalStorage


class Listing:
    """A source that is its listing: files with so many samples each."""

    def __init__(self, counts: list[int], size: int = 7) -> None:
        self.counts = counts
        self.size = size

    def describe(self) -> dict[str, Any]:
        return {"kind": "listing"}

    def list(self, account: Account) -> Iterator[Entry]:
        for file, count in enumerate(self.counts):
            for row in range(count):
                yield Entry(f"f{file}", 100 * row, self.size)

    def read(self, piece: Piece) -> Iterator[PendingSample]:
        raise NotImplementedError


def plan(listing: Listing, *, size: int = 4, limit: int | None = None) -> Iterator[ShardPlan]:
    return make_plan(listing, Cut(samples_per_shard=size, limit=limit))


def store(storage: LocalStorage, shards: Iterable[ShardPlan]) -> PlanSummary:
    return write_plan(storage, shards, lambda shard: None)


def compare(storage: LocalStorage, shards: Iterable[ShardPlan]) -> Changes:
    with closing(compare_plan(storage, shards)) as changes:
        return changes


@given(st.lists(st.integers(1, 30), max_size=12), st.integers(1, 25))
def test_shards_are_equal_and_every_sample_is_in_one(counts: list[int], size: int) -> None:
    shards = list(plan(Listing(counts), size=size))
    assert [shard.num_samples for shard in shards[:-1]] == [size] * max(0, len(shards) - 1)
    assert sum(shard.num_samples for shard in shards) == sum(counts)
    serial = 0
    covered = []
    for i, shard in enumerate(shards):
        assert (shard.index, shard.first_serial) == (i, serial)
        serial += shard.num_samples
        covered += [(p.path, p.start // 100 + k) for p in shard.pieces for k in range(p.count)]
    assert covered == [
        (f"f{file}", row) for file, count in enumerate(counts) for row in range(count)
    ]


def test_limit_takes_the_first_samples() -> None:
    shards = list(plan(Listing([5, 5]), limit=6))
    assert [shard.pieces for shard in shards] == [
        (Piece("f0", 0, 4, 7),),
        (Piece("f0", 400, 1, 7), Piece("f1", 0, 1, 7)),
    ]


def test_a_plan_is_stored_and_compared(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    summary = store(storage, plan(Listing([5, 5])))
    assert (summary.num_shards, summary.num_samples) == (3, 10)
    assert list(read_plan(storage)) == list(plan(Listing([5, 5])))
    changes = compare(storage, plan(Listing([5, 5])))
    assert changes.summary == summary and not changes.differ and not changes.is_other


@pytest.mark.parametrize("counts", [[5, 5, 4], [5, 7], [4, 4], [5], [4], [5, 5, 2, 1]])
def test_other_samples_are_told(tmp_path: Path, counts: list[int]) -> None:
    storage = LocalStorage(tmp_path)
    store(storage, plan(Listing([5, 5])))
    assert compare(storage, plan(Listing(counts))).is_other
    assert list(read_plan(storage)) == list(plan(Listing([5, 5])))


def test_the_same_samples_in_files_of_other_sizes_are_counted(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    store(storage, plan(Listing([5, 5])))
    changes = compare(storage, plan(Listing([5, 5], 8)))
    assert (changes.resized, changes.num_samples, changes.is_other) == ({0, 1, 2}, 10, False)
    assert changes.first.startswith("f0 has 8 bytes, and had 7, in shard 0")


def test_more_samples_after_a_full_last_shard_are_other_samples(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    store(storage, plan(Listing([4])))
    assert compare(storage, plan(Listing([4, 1]))).is_other


def test_names_that_are_not_text_survive(tmp_path: Path) -> None:
    class Odd(Listing):
        def list(self, account: Account) -> Iterator[Entry]:
            # a file name that is not UTF-8, as os.fsdecode gives it
            yield Entry("\udcff.jpg", 0, 1)

    storage = LocalStorage(tmp_path)
    store(storage, plan(Odd([])))
    assert [shard.pieces[0].path for shard in read_plan(storage)] == ["\udcff.jpg"]


def test_a_plan_that_is_not_whole_is_not_there(tmp_path: Path) -> None:
    class Killed(Listing):
        def list(self, account: Account) -> Iterator[Entry]:
            yield from list(super().list(account))[:8]
            raise KeyboardInterrupt

    storage = LocalStorage(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        store(storage, plan(Killed([5, 5])))
    assert not storage.exists(PLAN)


def places(shard: ShardPlan) -> list[tuple[str, int]]:
    return [(p.path, p.start + 100 * k) for p in shard.pieces for k in range(p.count)]


SHARES = [(8.0, 1.0, 1.0), (0.5, 0.0, 0.5), (1.0, 1.0, 1.0), (1.0, 0.0, 0.0), None]


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=8),
    st.integers(1, 25),
    st.one_of(st.none(), st.integers(0, 3)),
    st.sampled_from(SHARES),
)
def test_shuffled_or_drawn_every_sample_is_in_one_shard_of_one_split(
    counts: list[int], size: int, seed: int | None, split: Ratio | None
) -> None:
    counts = [*counts, 3]
    cut = Cut(samples_per_shard=size, shuffle=seed, split=split)
    shards = list(make_plan(Listing(counts), cut))
    covered = [place for shard in shards for place in places(shard)]
    everything = [
        (f"f{file}", 100 * row) for file, count in enumerate(counts) for row in range(count)
    ]
    assert sorted(covered) == sorted(everything)
    assert [shard.index for shard in shards] == list(range(len(shards)))
    assert all(0 < shard.num_samples <= size for shard in shards)
    samples = dict.fromkeys(("train", "val", "test", ""), 0)
    for shard in shards:
        samples[shard.split] += shard.num_samples
    if split is None:
        assert samples[""] == sum(counts)
    else:
        for name, share in zip(("train", "val", "test"), split, strict=True):
            assert bool(samples[name]) == bool(share)
            quota = sum(counts) * share / sum(split)
            assert (
                abs(samples[name] - quota) < 1
                or samples[name] == 1
                or quota < 1
                or min(samples.values()) <= 1
            )


def test_the_order_is_that_of_the_seed_whatever_the_listing_s_order() -> None:
    class Turned(Listing):
        def list(self, account: Account) -> Iterator[Entry]:
            return reversed([*super().list(account)])

    cut = Cut(samples_per_shard=7, shuffle=1, split=(8, 1, 1))
    one, other = (
        [(shard.split, places(shard)) for shard in make_plan(listing, cut)]
        for listing in (Listing([40]), Turned([40]))
    )
    assert one == other
    drawn = [place for _, shard in one for place in shard]
    assert drawn != sorted(drawn)
    again = [
        place
        for shard in make_plan(Listing([40]), Cut(samples_per_shard=7, shuffle=2))
        for place in places(shard)
    ]
    assert again != drawn


def test_the_parts_of_a_split_keep_the_listing_s_order_and_come_from_everywhere() -> None:
    cut = Cut(samples_per_shard=100, split=(8, 1, 1))
    train, val, test = make_plan(Listing([2] * 50), cut)
    assert [shard.num_samples for shard in (train, val, test)] == [80, 10, 10]
    for shard in (train, val, test):
        files = [int(path[1:]) for path, _ in places(shard)]
        assert files == sorted(files)
        assert len(set(files)) > 0.7 * min(50, shard.num_samples)


def test_a_split_of_fewer_samples_than_shares_is_refused() -> None:
    with pytest.raises(PrepError, match="2 samples are too few for a split of 3 shares"):
        list(make_plan(Listing([2]), Cut(samples_per_shard=4, split=(8, 1, 1))))


def test_limit_takes_the_first_of_the_shuffled_order() -> None:
    whole = Cut(samples_per_shard=100, shuffle=5)
    (shard,) = make_plan(Listing([20]), whole)
    (first,) = make_plan(Listing([20]), Cut(samples_per_shard=100, shuffle=5, limit=6))
    assert places(first) == places(shard)[:6]


def test_a_listing_that_loses_what_it_found_is_refused() -> None:
    class Losing(Listing):
        def list(self, account: Account) -> Iterator[Entry]:
            account.find()
            yield from super().list(account)

    with pytest.raises(PrepError, match="1 things were found"):
        list(plan(Losing([6])))
    assert len(list(plan(Losing([6]), limit=5))) == 2
