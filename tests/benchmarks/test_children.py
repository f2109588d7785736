from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.throughput import table_row, take_turns

SLEEPER = "tests.benchmarks.sleeper"


def test_ways_take_turns_and_tell_their_rounds(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    answers = take_turns({name: (SLEEPER, name, str(notes)) for name in "abc"}, rounds=3)
    assert notes.read_text() == "abcabcabc"
    assert [answer["name"] for answer in answers["b"]] == ["b"] * 3
    assert 5 < answers["a"][0]["peak_mib"] < 100  # no torch in it


def test_what_a_broken_child_said_is_shown(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no such model"):
        take_turns({"x": (SLEEPER, "broken", str(tmp_path / "notes"))}, rounds=1)


def test_a_row_has_the_median_of_the_rounds(capsys: pytest.CaptureFixture[str]) -> None:
    answers = [{"seconds": seconds, "peak_mib": 7} for seconds in (1.0, 4.0, 2.0)]
    assert table_row("ways", "flux1", "encode", 8, answers)["rate"] == 4.0
    assert "(2.00 to 8.00)" in capsys.readouterr().out
