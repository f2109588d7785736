from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from energon_prep.indexing import index
from tests.indexing.tars import names, write_foreign, write_ours, write_tar


@pytest.fixture(scope="session")
def foreign_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tars of others, indexed; beside them what a run that was killed left behind."""
    root = write_foreign(tmp_path_factory.mktemp("foreign") / "set", shards=5, samples=3)
    write_tar(root / "more" / "x.tar", names("more/1", "more/2"))
    staging = root / ".nv-meta" / ".energon-prep" / "staging"
    (staging / "data").mkdir(parents=True)
    (staging / "data" / "part_000.tar").symlink_to(root / "part_000.tar")
    shutil.copytree(root, root.with_name("raw"), symlinks=True)
    report = index(root, workers=2)
    assert (report.shards, report.samples, report.prepared, report.warnings) == (6, 17, True, ())
    assert report.split == {"train": (6, 17), "val": (0, 0), "test": (0, 0)}
    assert not staging.exists()
    return root


@pytest.fixture
def foreign(foreign_once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(foreign_once, tmp_path / "set")


@pytest.fixture(scope="module")
def ours_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_ours(
        tmp_path_factory.mktemp("ours") / "set", shards=3, samples=3, all_rejected=[1]
    )
    report = index(root, split="1,1,0")
    assert report.split == {"train": (1, 3), "val": (1, 3), "test": (0, 0)}
    assert (report.dataset_yaml, report.warnings) == ("written", ())
    return root


@pytest.fixture
def ours(ours_once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(ours_once, tmp_path / "set")
