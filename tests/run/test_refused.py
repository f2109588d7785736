"""What is refused before anything is written: exit code 2 on the command line, UsageError here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import energon_prep
from energon_prep.errors import PrepError, UsageError
from tests.runs import SMALL, prep


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"recipe": "ditt"}, "did you mean 'dit'"),
        ({"split": "1,2"}, "three comma-separated"),
        ({"set": {"nope": 1}}, "nope is not a field"),
        ({"device": "cuda:99"}, "sees 0 CUDA devices|sees"),
        ({"device": "xpuu"}, "is no device"),
        ({"max_rejects": "many"}, "give a number of samples"),
        ({"source_kind": "tar"}, "there is no source of kind 'tar'"),
        ({"workers": 100_000}, "--workers 100000: give 1024 at most"),
        ({"torch_threads": 5000}, "--torch-threads 5000: give 1024 at most"),
        ({"dest": "s3://bucket/x"}, "remote datasets"),
        ({"profile": "no/such/folder.json"}, "there is no such folder"),
        ({"weights": "small"}, "--weights 'small' is neither"),
        ({"vae": "nope"}, "unknown model 'nope'"),
        ({"model": "nope"}, "unknown model 'nope'"),
        ({"vae": "no.module:Class"}, "the module no.module cannot be imported"),
    ],
)
def test_an_option_that_cannot_be_meant(
    raw: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    told: str,
) -> None:
    """By a run and, but for the classes of users, which it does not make, by a dry run."""
    monkeypatch.chdir(tmp_path)
    given = {"source": raw, "dest": "dst", "weights": "tiny", "device": "cpu", **options}
    for verb in (energon_prep.encode, energon_prep.dry_run):
        if verb is energon_prep.dry_run and "Class" in str(options):
            continue
        with pytest.raises(UsageError, match=told):
            verb(**given)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"include": "none*"}, "nothing to encode"),
        ({"weights": "no/folder"}, "no/folder"),
        ({"limit": 2, "split": "1,1,1"}, "too few for a split"),
    ],
)
def test_a_run_that_cannot_begin_leaves_nothing(
    raw: Path, tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    given = {"weights": "tiny", "device": "cpu", **options}
    asks_hub = "weights" in options  # which a dry run only tells of
    for verb in (energon_prep.encode, *(() if asks_hub else (energon_prep.dry_run,))):
        with pytest.raises(PrepError, match=told):
            verb(raw, tmp_path / "new" / "dst", **given)
        assert list(tmp_path.iterdir()) == []


def test_a_dry_run_looks_at_weights_and_destination_as_a_run_does(
    raw: Path, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"weights": "tiny", "device": "cpu", "resolution": 64, "limit": 4}
    energon_prep.encode(raw, tmp_path / "dst", torch_threads=1, **given)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "dst").rglob("*")}
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/a.tar").touch()
    for dest, options, told in (
        ("dst", {"set": {"text.max_tokens": 9}}, "max_tokens: 512 there, 9 now"),
        ("dst", {"weights": "random"}, 'encoders.visual.model: "tiny" there, "random" now'),
        ("dst", {"torch_threads": 2}, "made with 1"),
        ("foreign", {}, "tars that energon-prep did not write"),
    ):
        with pytest.raises(UsageError, match=told):
            energon_prep.dry_run(raw, tmp_path / dest, **{**given, **options})
    with pytest.raises(PrepError, match=r"nothing there, tried vae/config\.json"):
        energon_prep.dry_run(raw, tmp_path / "new", **{**given, "weights": str(tmp_path / "empty")})
    assert energon_prep.dry_run(raw, tmp_path / "dst", **given).plan.num_samples == 4
    over = {**given, "resolution": 32, "overwrite": True}
    assert energon_prep.dry_run(raw, tmp_path / "dst", **over).plan.num_samples == 4
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "dst").rglob("*")} == files


def test_a_source_or_a_recipe_that_is_no_file_is_told_and_not_waited_for(tmp_path: Path) -> None:
    for name in ("m.jsonl", "a.tar", "recipe.yaml"):
        os.mkfifo(tmp_path / name)
    for source in ("m.jsonl", "a.tar"):
        with pytest.raises(PrepError, match=f"{source} is a pipe, a socket or a device"):
            energon_prep.encode(tmp_path / source, tmp_path / "dst", weights="tiny")
    with pytest.raises(UsageError, match=r"recipe\.yaml is no file"):
        energon_prep.encode(tmp_path, tmp_path / "dst", recipe=tmp_path / "recipe.yaml")


def test_a_source_in_its_own_destination(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(raw)
    (raw / "night").mkdir(exist_ok=True)
    for source, dest in ((raw, raw), (raw / "night", raw), (tmp_path / "link", raw)):
        with pytest.raises(UsageError, match="is DST, or lies in it"):
            energon_prep.encode(source, dest, weights="tiny")
    assert not (raw / ".energon-prep").exists()


def test_a_remote_dataset_or_a_file_is_refused_by_every_verb(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for dest, told in (("gs://b/x", "remote datasets .gs."), (str(tmp_path / "file"), "is a file")):
        for verb in (energon_prep.verify, energon_prep.index):
            with pytest.raises(UsageError, match=told):
                verb(dest)
        with pytest.raises(UsageError, match=told):
            energon_prep.repair(tmp_path, dest)


def test_the_command_line_exits_with_2(raw: Path, tmp_path: Path) -> None:
    prep("encode", raw, tmp_path / "dst", *SMALL, "--recipe", "ditt", code=2)
    prep("index", "s3://bucket/x", "--split", "1,0,0", code=2)
    told = prep("encode", raw, "s3://key:secret@bucket/x", *SMALL, code=2).stderr
    assert told.startswith("Error: s3://bucket/x: remote datasets")
    prep("encode", raw, tmp_path / "dst", *SMALL, "--limit", 3)
    prep("encode", raw, tmp_path / "dst", *SMALL, "--limit", 2, code=2)


def test_a_folder_without_media_is_told_how_the_command_is_used(tmp_path: Path) -> None:
    told = prep("encode", "--model", "t5-xxl", cwd=tmp_path, code=2).stderr
    assert "Usage: energon-prep encode" in told
    assert f"no images, videos, tars or tables in {tmp_path}" in told
    assert "For example: energon-prep encode PHOTOS ENCODED" in told


def test_where_it_reads_and_writes_is_said_before_models_are_looked_for(
    raw: Path, tmp_path: Path
) -> None:
    told = prep("encode", "--model", "t5-xxl", "--device", "cpu", cwd=raw, code=1).stderr
    assert told.startswith(f"encode   {raw} -> {raw / 'encoded'}, recipe dit for target dit\n")
    assert "google/t5-v1_1-xxl" in told
