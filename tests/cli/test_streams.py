"""What is said decides over nothing: streams that are closed, full or read by nobody."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.runs import SMALL, command, tar_digests


@pytest.fixture(scope="module")
def undisturbed(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return _encode(raw, tmp_path_factory.mktemp("undisturbed") / "dst", "")[1]


def _encode(raw: Path, dest: Path, redirected: str) -> tuple[str, dict[str, str]]:
    """``encode --split 1,0,0`` with that behind it in the shell: what it said, and the tars."""
    words = command("encode", raw, dest, *SMALL, "--limit", 20, "--split", "1,0,0")
    done = subprocess.run(
        ["sh", "-c", f'"$@" {redirected}', "sh", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (dest / ".nv-meta/split.yaml").exists()
    return done.stdout + done.stderr, tar_digests(dest)


@pytest.mark.parametrize("redirected", ["2>&-", "0<&- 1>&- 2>&-", ">/dev/full 2>/dev/full"])
def test_no_sample_and_no_index_is_lost(
    raw: Path, tmp_path: Path, undisturbed: dict[str, str], redirected: str
) -> None:
    assert _encode(raw, tmp_path / "dst", redirected)[1] == undisturbed


def test_lost_results_are_told(raw: Path, tmp_path: Path) -> None:
    told, _ = _encode(raw, tmp_path / "dst", ">/dev/full")
    assert told.count("warning: standard output is lost (No space left on device)") == 1


def test_a_profile_that_cannot_be_written_is_told(raw: Path, tmp_path: Path) -> None:
    told, _ = _encode(raw, tmp_path / "dst", "--profile /dev/full")
    assert "the profile could not be written: [Errno 28]" in told
    assert "indexed: 20 samples" in told


def test_a_profile_in_no_folder_is_refused_before_anything_is_done(
    raw: Path, tmp_path: Path
) -> None:
    words = command("encode", raw, tmp_path / "dst", *SMALL, "--profile", tmp_path / "no/p.json")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no/p.json: there is no such folder" in done.stderr
    assert not (tmp_path / "dst").exists()
