"""The promises, each kept by the real command in its own process (the trainers' contracts:
tests/targets).
"""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.gate import SOURCE, gate, started, wait_for
from tests.runs import SMALL as SMALL_SHARDS
from tests.runs import prep, tar_digests

SMALL = (*SMALL_SHARDS, "--set", "window=4")  # a shard has several windows, as real ones have


@pytest.fixture(scope="module")
def undisturbed(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    dest = tmp_path_factory.mktemp("undisturbed")
    prep("encode", raw, dest, *SMALL, "--workers", 1)
    digests = tar_digests(dest)
    assert len(digests) == 4
    return digests


def test_same_bytes_for_any_number_of_workers(
    raw: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    prep("encode", raw, tmp_path / "two", *SMALL, "--workers", 2)
    assert tar_digests(tmp_path / "two") == undisturbed


def test_killed_in_the_middle_of_a_shard_it_goes_on(
    raw: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    dest = tmp_path / "dst"
    arguments = ("encode", raw, dest, *SMALL, *SOURCE)
    with gate(tmp_path):
        with started(*arguments) as run:
            wait_for(lambda: any((dest / ".energon-prep/tmp").glob("*-shard_000002.tar")), run)
            run.send_signal(signal.SIGKILL)
        assert run.returncode == -signal.SIGKILL
    left = tar_digests(dest)
    assert left.items() <= undisturbed.items(), "a half-written shard has a final name"
    assert len(left) == 2
    with gate(tmp_path) as path:
        path.touch()
        report = json.loads(prep(*arguments, "--json").stdout)
    assert report["num_resumed"] == 20
    assert tar_digests(dest) == undisturbed
    assert not list((dest / ".energon-prep/tmp").iterdir())


def test_ctrl_c_stops_at_once_and_the_same_command_goes_on(
    raw: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    dest = tmp_path / "dst"
    arguments = ("encode", raw, dest, *SMALL, *SOURCE)
    with gate(tmp_path) as path, started(*arguments) as run:
        wait_for((dest / "shard_000001.tar").exists, run)
        run.send_signal(signal.SIGINT)
        path.touch()
        _, stderr = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "stopped: 20 of 40 samples, in 2 shards, are kept; the same command goes on" in stderr
    assert "Traceback" not in stderr
    with gate(tmp_path):
        prep(*arguments)
    assert tar_digests(dest) == undisturbed


def test_a_finished_run_is_left_alone(raw: Path, tmp_path: Path) -> None:
    dest = tmp_path / "dst"
    prep("encode", raw, dest, *SMALL, "--limit", 10)
    before = {path: path.stat().st_mtime_ns for path in dest.glob("*.tar")}
    report = json.loads(prep("encode", raw, dest, *SMALL, "--limit", 10, "--json").stdout)
    assert (report["num_samples"], report["num_resumed"]) == (10, 10)
    assert {path: path.stat().st_mtime_ns for path in dest.glob("*.tar")} == before


def test_another_recipe_or_source_is_refused(raw: Path, tmp_path: Path) -> None:
    dest = tmp_path / "dst"
    prep("encode", raw, dest, *SMALL, "--limit", 10)
    told = prep(
        "encode", raw, dest, *SMALL, "--limit", 10, "--set", "text.max_tokens=9", code=2
    ).stderr
    assert "recipe.text.0.max_tokens: 512 there, 9 now" in told
    assert "--overwrite" in told
    told = prep("encode", raw, dest, *SMALL, "--limit", 5, code=2).stderr
    assert "--limit 5: 10 samples are planned in this destination already" in told
    told = prep("encode", raw, dest, *SMALL, "--limit", 10, "--torch-threads", 2, code=2).stderr
    assert "--torch-threads 2: this destination is made with 1" in told
    assert len(tar_digests(dest)) == 1
    prep("encode", raw, dest, *SMALL, "--limit", 10, "--set", "text.max_tokens=9", "--overwrite")


def test_overwrite_removes_nothing_before_it_can_begin_anew(raw: Path, tmp_path: Path) -> None:
    dest = tmp_path / "dst"
    prep("encode", raw, dest, *SMALL, "--limit", 10)
    before = tar_digests(dest)
    again = ("encode", raw, dest, *SMALL, "--limit", 10, "--overwrite")
    for wrong in (("--weights", "nowhere"), ("--device", "cuda:7"), ("--recipe", "ditt")):
        prep(*again, *wrong, code=2)
        assert tar_digests(dest) == before
    assert (
        "10 samples were finished by earlier runs"
        in prep("encode", raw, dest, *SMALL, "--limit", 10).stdout
    )


def test_a_source_that_changed_is_refused(raw: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for path in sorted(raw.rglob("*"))[:40]:
        if path.is_file():
            (source / path.name).write_bytes(path.read_bytes())
    dest = tmp_path / "dst"
    prep("encode", source, dest, *SMALL)
    image = next(path for path in sorted(source.iterdir()) if path.suffix == ".jpg")
    image.write_bytes(image.read_bytes() + b"more")
    told = prep("encode", source, dest, *SMALL, code=1).stderr
    assert "1 shard of 10 samples changed" in told
    assert image.name in told
    assert "--update" in told


def test_two_runs_at_once_are_refused(raw: Path, tmp_path: Path) -> None:
    from energon_prep.storage import LocalStorage

    with LocalStorage(tmp_path / "dst").locked():
        told = prep("encode", raw, tmp_path / "dst", *SMALL, code=1).stderr
    assert "another run is writing to" in told


def test_a_destination_of_others_is_refused(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "dst").mkdir()
    (tmp_path / "dst/mine.tar").write_bytes(b"")
    told = prep("encode", raw, tmp_path / "dst", *SMALL, code=2).stderr
    assert "holds 1 tars that energon-prep did not write (mine.tar, ...)" in told
    assert (tmp_path / "dst/mine.tar").exists()
