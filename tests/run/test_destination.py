from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from energon_prep.errors import PrepError
from energon_prep.indexing import index
from energon_prep.run.destination import clear
from energon_prep.storage import LocalStorage
from energon_prep.targets import get_target
from tests.verifying.data import write_dit


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = write_dit(tmp_path / "set")
    index(root)
    return root


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def overwrite(root: Path) -> None:
    storage = LocalStorage(root)
    with storage.locked():
        clear(storage, get_target("dit"))


def test_what_ledger_and_plan_name_is_removed_and_nothing_else(root: Path) -> None:
    (root / ".energon-prep/ledger/shard_000001.json").unlink()  # the plan names it
    (root / ".energon-prep/bad").mkdir()
    shutil.copy(root / "shard_000000.tar", root / ".energon-prep/bad/shard_000000.tar")
    mine = [
        "notes.txt",
        "shard_of_mine.tar.idx",
        "shard_000009.tar.idx",
        "folder/shard_000000.tar",
        ".nv-meta/mine.yaml",
        ".energon-prep/bad/mine",
        ".energon-prep/ledger/mine.json",
        ".energon-prep/rejects/mine.jsonl",
        "empty_encodings/t5_empty.npy",
    ]
    for name in mine:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("mine")
    overwrite(root)
    left = {name for name in files(root) if not name.endswith("/lock")}
    assert left == set(mine)


@pytest.mark.parametrize("place", [".nv-meta", ".energon-prep/ledger", ".energon-prep/bad"])
def test_what_lies_behind_a_link_is_left_alone(root: Path, place: str) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "shard_000000.json").write_text("precious")
    (outside / "split.yaml").write_text("precious")
    if (root / place).exists():
        shutil.rmtree(root / place)
    (root / place).symlink_to(outside)
    before = files(root)
    with pytest.raises(PrepError, match=f"{place} is a link"):
        overwrite(root)
    assert files(outside) == {"shard_000000.json", "split.yaml"}
    assert files(root) == before


def test_a_tar_of_others_stops_it_before_anything_is_removed(root: Path) -> None:
    (root / "shard_000002.tar").rename(root / "shard_of_somebody_else.tar")
    before = files(root) | {".energon-prep/lock"}
    with pytest.raises(PrepError, match=r"shard_of_somebody_else\.tar, .*move them away"):
        overwrite(root)
    assert files(root) == before
