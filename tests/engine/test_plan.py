from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energon_prep.engine.plan import PlanSummary, ShardPlan, compare_plan, make_plan, read_plan
from energon_prep.engine.planning import PARTIAL, Planning
from energon_prep.errors import PrepError
from energon_prep.samples import PendingSample
from energon_prep.sources.base import Entry, Piece
from energon_prep.storage import LocalStorage


class Listing:
    """A source that is its listing: files with so many samples each."""

    def __init__(self, counts: list[int], size: int = 7) -> None:
        self.counts = counts
        self.size = size

    def describe(self) -> dict[str, Any]:
        return {"kind": "listing"}

    def list(self) -> Iterator[Entry]:
        for file, count in enumerate(self.counts):
            for row in range(count):
                yield Entry(f"f{file}", 100 * row, self.size)

    def read(self, piece: Piece) -> Iterator[PendingSample]:
        raise NotImplementedError


def write_plan(storage: LocalStorage, shards: Iterable[ShardPlan]) -> PlanSummary:
    with Planning(storage, shards, noted=lambda shard: None) as planning:
        list(planning.shards())
        return planning.summary


@given(st.lists(st.integers(1, 30), max_size=12), st.integers(1, 25))
def test_shards_are_equal_and_every_sample_is_in_one(counts: list[int], size: int) -> None:
    shards = list(make_plan(Listing(counts), samples_per_shard=size))
    assert [shard.num_samples for shard in shards[:-1]] == [size] * max(0, len(shards) - 1)
    assert sum(shard.num_samples for shard in shards) == sum(counts)
    serial = 0
    covered = []
    for i, shard in enumerate(shards):
        assert (shard.index, shard.first_serial) == (i, serial)
        serial += shard.num_samples
        covered += [(p.path, p.start // 100 + k) for p in shard.pieces for k in range(p.count)]
    assert covered == [(f"f{file}", row) for file, count in enumerate(counts) for row in range(count)]


def test_limit_takes_the_first_samples() -> None:
    shards = list(make_plan(Listing([5, 5]), samples_per_shard=4, limit=6))
    assert [shard.pieces for shard in shards] == [(Piece("f0", 0, 4),), (Piece("f0", 400, 1), Piece("f1", 0, 1))]


def test_a_plan_is_stored_and_compared(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    summary = write_plan(storage, make_plan(Listing([5, 5]), samples_per_shard=4))
    assert (summary.num_shards, summary.num_samples) == (3, 10)
    assert list(read_plan(storage)) == list(make_plan(Listing([5, 5]), samples_per_shard=4))
    assert compare_plan(storage, make_plan(Listing([5, 5]), samples_per_shard=4)) == summary


@pytest.mark.parametrize(
    ("counts", "size", "message"),
    [
        ([5, 5, 4], 7, r"shard 2 is now made of other files or rows, first at f2"),
        ([5, 7], 7, r"shard 2 is now made of other files or rows, first at f1"),
        ([4, 4], 7, r"shard 1 is now made of other files or rows, first at f1"),
        ([5], 7, r"shard 1 is now made of other files or rows, first at f1"),
        ([4], 7, r"there are fewer samples from number 4 on"),
        ([5, 7, 9], 7, r"shard 2 is now made of other files"),
        ([5, 5], 8, r"files of shard 0 \(from f0 on\) have other sizes"),
    ],
)
def test_a_changed_source_is_refused(tmp_path: Path, counts: list[int], size: int, message: str) -> None:
    storage = LocalStorage(tmp_path)
    write_plan(storage, make_plan(Listing([5, 5]), samples_per_shard=4))
    with pytest.raises(PrepError, match=message):
        compare_plan(storage, make_plan(Listing(counts, size), samples_per_shard=4))


def test_more_samples_after_a_full_last_shard_are_refused(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    write_plan(storage, make_plan(Listing([4]), samples_per_shard=4))
    with pytest.raises(PrepError, match=r"there are more samples from number 4 on"):
        compare_plan(storage, make_plan(Listing([4, 1]), samples_per_shard=4))


def test_names_that_are_not_text_survive(tmp_path: Path) -> None:
    class Odd(Listing):
        def list(self) -> Iterator[Entry]:
            yield Entry("\udcff.jpg", 0, 1)  # a file name that is not UTF-8, as os.fsdecode gives it

    storage = LocalStorage(tmp_path)
    write_plan(storage, make_plan(Odd([]), samples_per_shard=4))
    assert [shard.pieces[0].path for shard in read_plan(storage)] == ["\udcff.jpg"]


def test_shards_are_given_out_while_the_source_is_still_listed(tmp_path: Path) -> None:
    go_on = threading.Event()

    class Slow(Listing):
        def list(self) -> Iterator[Entry]:
            for number, entry in enumerate(super().list()):
                if number == 8:
                    assert go_on.wait(30)
                yield entry

    noted: list[int] = []
    shards = make_plan(Slow([20]), samples_per_shard=4)
    with Planning(LocalStorage(tmp_path), shards, noted=lambda shard: noted.append(shard.index)) as planning:
        planning.wait_for_first()
        given_out = planning.shards()
        assert [next(given_out).index, next(given_out).index] == [0, 1]
        assert noted == [0, 1]
        go_on.set()
        assert [shard.index for shard in given_out] == [2, 3, 4]
        assert planning.summary.num_samples == 20
    assert not (tmp_path / PARTIAL).exists()
    assert len(list(read_plan(LocalStorage(tmp_path)))) == 5


def begun(tmp_path: Path, torn: bytes = b"") -> LocalStorage:
    """A destination whose planning was killed after two of three shards, and maybe in the middle of a line."""
    storage = LocalStorage(tmp_path)

    class Killed(Listing):
        def list(self) -> Iterator[Entry]:
            yield from list(super().list())[:8]
            raise KeyboardInterrupt

    with (
        Planning(storage, make_plan(Killed([5, 5]), samples_per_shard=4), noted=lambda shard: None) as planning,
        pytest.raises(KeyboardInterrupt),
    ):
        list(planning.shards())
    with (tmp_path / PARTIAL).open("ab") as file:
        file.write(torn)
    return storage


@pytest.mark.parametrize(
    "torn", [b"", b'{"index":2,"fir', b'{"index":2,"first_serial":8,"pieces":[["f1",300,9]],"digest":"x"}']
)
def test_a_planning_that_was_killed_goes_on(tmp_path: Path, torn: bytes) -> None:
    storage = begun(tmp_path, torn)
    summary = write_plan(storage, make_plan(Listing([5, 5]), samples_per_shard=4))
    assert (summary.num_shards, summary.num_samples) == (3, 10)
    assert list(read_plan(storage)) == list(make_plan(Listing([5, 5]), samples_per_shard=4))


@pytest.mark.parametrize(("counts", "size"), [([6, 5], 7), ([4], 7), ([5, 5], 8)])
def test_a_source_that_changed_while_planning_was_stopped_is_refused(
    tmp_path: Path, counts: list[int], size: int
) -> None:
    storage = begun(tmp_path)
    with pytest.raises(PrepError, match="the source is not what this destination was begun with"):
        write_plan(storage, make_plan(Listing(counts, size), samples_per_shard=4))
    assert not storage.exists(".energon-prep/plan.jsonl")
