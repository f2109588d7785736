from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from energon_prep.errors import PrepError
from energon_prep.indexing import index
from energon_prep.storage import LocalStorage
from energon_prep.verifying import verify
from tests.verifying.data import write_dit
from tests.verifying.edits import TAR, flip

LEDGER = ".energon-prep/ledger"
BAD = ".energon-prep/bad"
CAPTION = ".energon-prep/empty_caption.pickle"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = write_dit(tmp_path / "set")
    index(root)
    return root


WHOLE = [TAR, f"{TAR}.idx", "shard_000001.json", "shard_000001.jsonl", "shard_000001.rows"]
RECORDS = [f"{TAR}.idx", "shard_000001.rows"]


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    ("spoil", "marked", "aside"),
    [
        (lambda root: os.truncate(root / TAR, 3000), "shard_000001", WHOLE),
        (lambda root: (root / TAR).unlink(), "shard_000001", WHOLE[1:]),
        (lambda root: (root / LEDGER / "shard_000001.json").write_text("{"), "shard_000001", WHOLE),
        (
            lambda root: (root / ".energon-prep/rejects/shard_000001.jsonl").write_text("["),
            "shard_000001",
            WHOLE,
        ),
        (
            lambda root: flip(root / LEDGER / "shard_000001.rows", 90),
            "the index rows of shard_000001",
            RECORDS,
        ),
        (lambda root: flip(root / f"{TAR}.idx", 9), "the index rows of shard_000001", RECORDS),
        (
            lambda root: (root / ".energon-prep/plan.jsonl").write_text("{"),
            ".energon-prep/plan.jsonl",
            ["plan.jsonl"],
        ),
        (lambda root: (root / CAPTION).write_bytes(b"x"), CAPTION, ["empty_caption.pickle"]),
    ],
)
def test_what_is_damaged_is_set_aside_and_nothing_else(
    root: Path, spoil: Callable[[Path], object], marked: str, aside: list[str], deep: bool
) -> None:
    spoil(root)
    before = verify(root, deep=deep)
    assert before.repairable
    assert before.marked == ()
    assert not (root / BAD).exists()
    report = verify(root, deep=deep, mark_bad=True)
    assert not report.ok
    assert report.marked == (marked,)
    assert sorted(path.name for path in (root / BAD).iterdir()) == sorted(aside)
    for number in (0, 2):
        assert (root / f"shard_00000{number}.tar").exists()
        assert (root / LEDGER / f"shard_00000{number}.json").exists()
    verify(root, deep=deep, mark_bad=True)
    assert sorted(path.name for path in (root / BAD).iterdir()) == sorted(aside)


def test_only_a_deep_look_sees_a_flipped_bit(root: Path) -> None:
    flip(root / TAR, 3000)
    assert verify(root, deep=False).ok
    assert verify(root, mark_bad=True).marked == ("shard_000001",)


def test_a_quick_look_opens_no_tar(root: Path) -> None:
    expected = verify(root)
    for tar in root.glob("*.tar"):
        os.truncate(tar, tar.stat().st_size)
        tar.write_bytes(bytes(tar.stat().st_size))
    report = verify(root, deep=False)
    assert (report.ok, report.deep) == (True, False)
    assert (report.shards, report.samples, report.parts) == (
        expected.shards,
        expected.samples,
        expected.parts,
    )
    assert report.accounted == expected.accounted


def test_what_cannot_be_made_again_is_left_alone(root: Path) -> None:
    shutil.copy(root / TAR, root / "mine.tar")
    (root / ".nv-meta/split.yaml").unlink()
    report = verify(root, mark_bad=True)
    assert (report.num_problems, report.marked) == (2, ())
    assert (root / "mine.tar").exists()


def test_marking_waits_for_nobody(root: Path) -> None:
    with LocalStorage(root).locked(), pytest.raises(PrepError, match="another run is writing"):
        verify(root, mark_bad=True)


def test_a_dataset_of_others(root: Path) -> None:
    shutil.rmtree(root / ".energon-prep")
    report = verify(root, deep=False)
    assert (report.ok, report.samples) == (True, 9)
    os.truncate(root / f"{TAR}.idx", 8)
    os.truncate(root / "shard_000002.tar", 3000)
    report = verify(root, deep=False)
    assert [problem.partition(":")[0] for problem in report.problems] == [
        f"{TAR}.idx",
        "shard_000002.tar.idx",
    ]
    with pytest.raises(PrepError, match="cannot make its tars again"):
        verify(root, mark_bad=True)
