"""What is said decides over nothing: streams that are closed, full or read by nobody."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.runs import SMALL, command, prep, tar_digests


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
    assert "\nwarning: the profile could not be written: [Errno 28]" in told
    assert "indexed: 20 samples" in told


def test_the_report_for_machines_has_every_warning(raw: Path, tmp_path: Path) -> None:
    told, _ = _encode(raw, tmp_path / "dst", "--profile /dev/full --json 2>/dev/null")
    report = json.loads(told)
    assert report["index"]["split"]["train"] == [2, 20]
    profile, made_up = report["warnings"]
    assert profile.startswith("the profile could not be written: [Errno 28]")
    assert [made_up] == report["index"]["warnings"] == [report["made_up"]]


def test_a_profile_in_no_folder_is_refused_before_anything_is_done(
    raw: Path, tmp_path: Path
) -> None:
    words = command("encode", raw, tmp_path / "dst", *SMALL, "--profile", tmp_path / "no/p.json")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no/p.json: there is no such folder" in done.stderr
    assert not (tmp_path / "dst").exists()


def test_names_of_others_cannot_write_on_the_terminal(tmp_path: Path) -> None:
    source = tmp_path / "raw"
    source.mkdir()
    name = "a\x1b[2J\r\nall right\u202e"
    for suffix in (".png", ".d\x1b[2Joc", ".tar"):
        (source / f"{name}{suffix}").write_bytes(b"broken")
    (source / "b.png").write_bytes(b"broken too")
    kind = ("--source-kind", "folder", "--allow-empty-captions")
    told = prep("encode", source, tmp_path / "dst", *SMALL, *kind, code=1).stderr
    told += prep("encode", source / f"{name}.gone", tmp_path / "dst", *SMALL, code=1).stderr
    told += prep("verify", tmp_path / f"dst{name}", code=1).stderr
    report = prep("encode", source, tmp_path / "dst", *SMALL, *kind, "--dry-run").stdout
    assert not set(told + report) & {"\x1b", "\r", "\u202e"}
    assert "\\x1b[2J\\r" in told and "a\\x1b[2J\\r\\nall right" in report


def _in_locale(source: Path, dest: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("encode", source, dest, *SMALL),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_keys_do_not_depend_on_the_locale(raw: Path, tmp_path: Path) -> None:
    source = tmp_path / "raw"
    source.mkdir()
    for name in ("\u00e9t\u00e9", "\u0130", "z"):
        shutil.copy(next(raw.rglob("*.png")), source / f"{name}.png")
        (source / f"{name}.txt").write_text("caption")
    for locale in ("C.UTF-8", "C"):
        assert _in_locale(source, tmp_path / locale, LC_ALL=locale).returncode == 0
    assert tar_digests(tmp_path / "C.UTF-8") == tar_digests(tmp_path / "C")
    latin = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    refused = _in_locale(source, tmp_path / "latin", **latin)
    assert refused.returncode == 2 and "set PYTHONUTF8=1" in refused.stderr
    assert not (tmp_path / "latin").exists()
