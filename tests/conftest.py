from __future__ import annotations

import os
from pathlib import Path

import pytest

from energon_prep.demo.data import make_raw_dataset

# The tests' own processes share two cores: one thread each is faster than many that wait for each
# other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 JPEG, PNG and WebP images of mixed sizes with captions."""
    root = tmp_path_factory.mktemp("raw")
    make_raw_dataset(root, num=40, max_side=500)
    return root
