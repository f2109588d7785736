from __future__ import annotations

import gc
import json
import os
import pickle
import shutil
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from energon_prep.errors import PrepError
from energon_prep.targets.serialize import dumps_pth
from energon_prep.verifying import verify
from tests.verifying.data import read_tar, rewrite_tar, write_dit
from tests.verifying.edits import TAR

KEY = "samples/sample_000000005"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sound_dataset_is_all_right(sound: Path, workers: int) -> None:
    told: list[tuple[int, int]] = []
    report = verify(sound, workers=workers, progress=lambda done, total: told.append((done, total)))
    assert report.problems == report.notes == ()
    assert (report.ok, report.num_problems) == (True, 0)
    assert (report.shards, report.samples, report.parts) == (3, 9, 27)
    assert report.accounted == {"planned": 16, "written": 9, "rejected": 7}
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert json.loads(json.dumps(report.to_dict()))["samples"] == 9


def test_a_dataset_without_index_is_all_right_with_a_note(tmp_path: Path) -> None:
    report = verify(write_dit(tmp_path / "set"))
    assert report.ok
    assert report.notes == ("the dataset is not indexed yet: run energon-prep index",)


def test_a_part_of_20_gib_is_a_problem(tmp_path: Path) -> None:
    """Of a sparse file, which takes no room."""
    root = tmp_path / "set"
    root.mkdir()
    with (root / "a.tar").open("wb") as file:
        for part in ("json", "pickle", "pth", "mp4"):
            member = tarfile.TarInfo(f"a.{part}")
            member.size = 20 * 2**30
            file.write(member.tobuf(tarfile.GNU_FORMAT))
            file.seek(member.size, os.SEEK_CUR)
        file.write(bytes(1024))
    problems = verify(root, target="dit").problems
    parts = [f"a.tar: a.{part}: it has {20 * 2**30} bytes" for part in ("json", "pickle", "pth")]
    assert [problem.partition(": a part")[0] for problem in problems] == parts


class _Harmful:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch /tmp/energon-prep-was-here",)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda parts: parts["pth"].view(-1)[:1].fill_(float("nan")), f"{TAR}: {KEY}: pth has NaN"),
        (
            lambda parts: parts.update(pth=parts["pth"][:, 0]),
            f"{TAR}: {KEY}: pth has 3 dimensions, the trainer reads 4",
        ),
        (
            lambda parts: parts.update(pickle=torch.ones(513, 8)),
            f"{TAR}: {KEY}: pickle has 513 tokens",
        ),
        (lambda parts: parts.pop("pickle"), f"{TAR}: {KEY}: part 'pickle' is missing"),
        (
            lambda parts: parts.update(pth=dumps_pth(parts["pth"])[:-90]),
            f"{TAR}: {KEY}.pth: not a file that torch.save",
        ),
        (lambda parts: parts.update(json=b"{"), f"{TAR}: {KEY}.json: not JSON"),
        (
            lambda parts: parts.update(pickle=pickle.dumps(_Harmful())),
            f"{TAR}: {KEY}.pickle: the pickle asks for posix",
        ),
    ],
)
def test_what_is_wrong_with_a_part_is_told(
    tmp_path: Path, change: Callable[[Any], object], problem: str
) -> None:
    root = write_dit(tmp_path / "set", change=lambda serial, parts: serial == 5 and change(parts))
    report = verify(root)
    assert [found for found in report.problems if found.startswith(problem)], report.problems
    assert report.num_problems == 1
    assert not Path("/tmp/energon-prep-was-here").exists()


def _foreign(root: Path) -> Path:
    write_dit(root)
    shutil.rmtree(root / ".energon-prep")
    return root


def test_a_dataset_of_others_is_checked_against_the_target_named(tmp_path: Path) -> None:
    root = _foreign(tmp_path / "set")
    report = verify(root, target="dit")
    assert (report.ok, report.samples, report.accounted) == (True, 9, {})
    assert "no ledger" in report.notes[0]
    report = verify(root, target="nemo-dit")
    assert report.num_problems == 9
    assert "part '.json' is missing" in report.problems[0]


def test_what_breaks_keys_in_a_dataset_of_others_is_told(tmp_path: Path) -> None:
    root = _foreign(tmp_path / "set")
    one, *others = (read_tar(root / f"shard_00000{i}.tar") for i in range(3))
    rewrite_tar(root / "again.tar", one[:3])
    rewrite_tar(
        root / "mixed.tar",
        [
            (f"{'ab'[i % 2]}.{part}", data)
            for i, (part, data) in enumerate(
                (name.rpartition(".")[2], data) for name, data in others[0][:3] for _ in range(2)
            )
        ],
    )
    rewrite_tar(
        root / "double.tar",
        [("c" + name[-5:], data) for name, data in [*others[1][:1], *others[1][:3]]],
    )
    rewrite_tar(root / "hollow.tar", [])
    (root / "cut.tar").write_bytes((root / "again.tar").read_bytes()[:-10240])
    problems = "\n".join(verify(root, target="dit").problems)
    assert "shard_000000.tar: samples/sample_000000000: the key is in again.tar too" in problems
    assert "mixed.tar: a: the key occurs twice, or its parts are not adjacent" in problems
    assert "double.tar: " in problems
    assert "it occurs twice" in problems
    assert "hollow.tar: it holds no sample" in problems
    assert "cut.tar: it " in problems


def test_many_problems_are_counted_and_some_told(tmp_path: Path) -> None:
    root = write_dit(tmp_path / "set", shards=60, change=lambda _, parts: parts.pop("pth"))
    report = verify(root)
    assert report.num_problems == 180
    assert len(report.problems) == 101
    assert report.problems[-1] == "and 80 more"


def test_where_nothing_can_be_verified_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PrepError, match="not a folder"):
        verify(tmp_path / "absent")
    with pytest.raises(PrepError, match=r"no \.tar files"):
        verify(tmp_path)
    root = _foreign(tmp_path / "set")
    with pytest.raises(PrepError, match="--target"):
        verify(root)
    with pytest.raises(PrepError, match="there is no target 'x'"):
        verify(root, target="x")
    with pytest.raises(PrepError, match="workers 0"):
        verify(root, workers=0)


def test_memory_does_not_grow_with_the_dataset(tmp_path: Path) -> None:
    peaks = []
    for shards in (4, 100):
        root = write_dit(tmp_path / str(shards), shards=shards)
        gc.collect()
        gc.freeze()  # so that collecting the little that comes after it is quick
        tracemalloc.start()
        assert verify(root, progress=lambda *_: gc.collect()).ok
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        gc.unfreeze()
    data = sum(tar.stat().st_size for tar in root.glob("*.tar"))
    # the ledger's entries, some 1 KB a shard
    assert peaks[1] - peaks[0] < data / 3


def test_a_worker_that_dies_is_told(tmp_path: Path) -> None:
    root = _foreign(tmp_path / "set")
    with pytest.raises(PrepError, match="use fewer workers"):
        verify(root, target="tests.own_classes:Deadly", workers=2)
