from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from energon_prep.cli import main
from tests.verifying.data import write_dit


def _verify(root: Path, *args: str) -> Result:
    return CliRunner().invoke(main, ["verify", str(root), *args])


@pytest.mark.parametrize("depth", [[], ["--deep"], ["--quick"]])
def test_what_is_right_ends_with_0(tmp_path: Path, depth: list[str]) -> None:
    result = _verify(write_dit(tmp_path / "set"), *depth)
    assert result.exit_code == 0, result.output
    assert "all right: 3 shards, 9 samples, 27 parts" in result.output
    assert "to repair" not in result.output


def test_the_way_to_a_repair_is_told(tmp_path: Path) -> None:
    root = write_dit(tmp_path / "set")
    os.truncate(root / "shard_000001.tar", 100)
    result = _verify(root, "--quick")
    assert result.exit_code == 1
    assert "to repair: run verify --mark-bad, then the same encode again" in result.output
    result = _verify(root, "--mark-bad")
    assert result.exit_code == 1
    assert (
        "set aside in .energon-prep/bad: shard_000001\nto repair: run the same encode again\n"
        in result.output
    )
    assert "1 problem: 2 shards, 6 samples, 18 parts in the records; no tar was opened" in (
        _verify(root, "--quick").output
    )
    report = json.loads(_verify(root, "--quick", "--json").stdout)
    assert report["num_problems"] == 1
    assert "shard_000001: planned and not finished" in report["problems"][0]
