from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import energon_prep
from energon_prep.cli.console import print_encode_report
from energon_prep.demo.data import make_raw_dataset
from energon_prep.encoders.made_up import made_up_weights


@pytest.mark.parametrize(
    ("visual", "text", "which"),
    [
        ({"model": "tiny", "architecture": "x"}, {"model": "a/b"}, "visual: tiny"),
        ({"model": "a/b"}, {"model": "random", "architecture": "x"}, "text t5: random"),
        ({"model": "tiny", "revision": None}, {"class": "mine:Own"}, ""),  # a folder of that name
    ],
)
def test_which_encoders_nobody_trained(
    visual: dict[str, Any], text: dict[str, Any], which: str
) -> None:
    told = made_up_weights({"visual": visual, "text": [{**text, "name": "t5"}]})
    assert (f"({which})" in told) == bool(told) == bool(which)


def test_encode_index_and_verify_tell_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, dest = tmp_path / "raw", tmp_path / "set"
    make_raw_dataset(raw, num=1, min_side=64, max_side=80)
    report = energon_prep.encode(raw, dest, weights="tiny", torch_threads=1, resolution=32)
    told = report.made_up
    assert "made-up weights (visual: tiny, text t5: tiny)" in told
    print_encode_report(report)
    assert f"note: {told}" in capsys.readouterr().out
    again = energon_prep.encode(raw, dest, weights="tiny", torch_threads=1, resolution=32)
    assert again.made_up == told
    assert told in energon_prep.index(dest).warnings
    assert energon_prep.verify(dest).notes == (told,)
