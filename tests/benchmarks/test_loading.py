from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.loading import SIZES, WAYS, load, make_dataset, make_parts

pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")


def test_every_way_reads_every_sample(tmp_path: Path) -> None:
    make_dataset("dit", tmp_path / "dit", 16)
    for way in WAYS:
        assert load("dit", way, tmp_path / "dit", 16)()["milliseconds"] > 0


def test_parts_are_as_large_as_in_training() -> None:
    sizes = {kind: make_parts(kind, 1)["pth"].nbytes for kind in SIZES}
    assert sizes == {"flux": 2**19, "wan": 4_193_280, "dit": 2**17}
