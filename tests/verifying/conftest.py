from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from energon_prep.indexing import index
from tests.verifying.data import write_dit


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An indexed dataset of four shards, one of which has rejects only."""
    root = write_dit(tmp_path_factory.mktemp("sound") / "set", shards=4, all_rejected=2)
    index(root, split="2,1,0")
    return root


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoiled."""
    return shutil.copytree(sound, tmp_path / "set")
