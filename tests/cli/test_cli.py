from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from energon_prep.cli import main
from energon_prep.plan.shards import Cut, make_plan
from energon_prep.sources.detect import open_source
from tests.runs import SMALL, command, prep

HEAVY = (
    "torch",
    "transformers",
    "diffusers",
    "megatron",
    "av",
    "PIL",
    "numpy",
    "pydantic",
    "rich",
    "yaml",
)


@pytest.mark.parametrize(
    "args", [["--help"], ["encode", "--help"], ["index", "--help"], ["verify", "--help"]]
)
def test_help_answers_at_once_and_loads_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys; from energon_prep.cli import main\n"
        f"try: main({args!r})\nexcept SystemExit: pass\n"
        f"print('LOADED', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage:" in done.stdout
    assert "LOADED []" in done.stdout
    seconds: list[float] = []
    while not seconds or (min(seconds) >= 0.3 and len(seconds) < 20):
        # the other tests' processes are in the way
        started = time.perf_counter()
        subprocess.run(command(*args), capture_output=True, check=True)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.3, seconds


def test_importing_the_library_loads_nothing_heavy() -> None:
    code = f"import sys, energon_prep; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )


def test_the_verbs_are_functions_whatever_was_imported_before() -> None:
    code = (
        "import energon_prep.indexing, energon_prep.verifying, energon_prep\n"
        "print([callable(getattr(energon_prep, name)) for name in ('encode', 'index', "
        "'verify', 'load_recipe')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[True, True, True, True]\n"


def test_every_command_is_in_the_readme() -> None:
    readme = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")
    for name in main.list_commands(None):  # type: ignore[arg-type]
        assert f"energon-prep {name}" in readme


def test_recipes_prints_what_recipe_files_are_made_of() -> None:
    runner = CliRunner()
    assert "nemo-dit" in runner.invoke(main, ["recipes"]).output
    printed = runner.invoke(main, ["recipes", "dit"]).output
    assert "# download: about 9.8 GB\n" in printed
    assert yaml.safe_load(printed)["visual"]["model"] == "cosmos-cv4x8x8"
    failed = runner.invoke(main, ["recipes", "dut"])
    assert failed.exit_code == 2
    assert "did you mean 'dit'?" in failed.output


def test_dry_run_writes_nothing(raw: Path, tmp_path: Path) -> None:
    shown = prep("encode", raw, tmp_path / "dst", "--dry-run", "--samples-per-shard", 16).stdout
    assert "plan     40 samples in 3 shards" in shown
    plan = json.loads(
        prep("encode", raw, tmp_path / "dst", "--dry-run", "--json", "--limit", 5).stdout
    )
    assert plan["plan"] == {"num_shards": 1, "num_samples": 5, "split": {}}
    assert not (tmp_path / "dst").exists()


def test_a_split_is_cut_before_encoding_and_named_by_the_index(raw: Path, tmp_path: Path) -> None:
    few = (*SMALL, "--limit", 24, "--split", "8,1,1")
    shown = prep("encode", raw, tmp_path, *few, "--dry-run").stdout
    assert "plan     24 samples in 4 shards" in shown
    assert "split    train 19 (79.2%), val 3 (12.5%), test 2 (8.3%)" in shown
    told = prep("encode", raw, tmp_path, *few).stdout
    assert "train 2 shards / 19 samples, val 1 shard / 3 samples, test 1 shard / 2 samples" in told
    again = prep("index", tmp_path, "--split", "0.8,0.1,0.1").stdout
    assert "train 2 shards / 19 samples, val 1 shard / 3 samples, test 1 shard / 2 samples" in again
    refused = prep("encode", raw, tmp_path, *SMALL, "--limit", 24, code=2).stderr
    assert "cut.split" in refused


def test_of_many_folders_every_split_has_some_of_nearly_all(tmp_path: Path) -> None:
    folders = {f"{i % 50:02d}" for i in range(5000)}
    for name in folders:
        (tmp_path / "raw" / name).mkdir(parents=True)
    for i in range(5000):
        (tmp_path / "raw" / f"{i % 50:02d}" / f"{i}.jpg").touch()
    cut = Cut(samples_per_shard=1000, shuffle=1, split=(8, 1, 1))
    found: dict[str, set[str]] = {"train": set(), "val": set(), "test": set()}
    sizes = dict.fromkeys(found, 0)
    for shard in make_plan(open_source(tmp_path / "raw"), cut):
        found[shard.split] |= {piece.path.partition("/")[0] for piece in shard.pieces}
        sizes[shard.split] += shard.num_samples
    assert all(len(names) >= 45 for names in found.values())
    assert sizes == {"train": 4000, "val": 500, "test": 500}


def test_several_resolutions_and_originals(raw: Path, tmp_path: Path) -> None:
    sizes = ("--resolution", 64, "--resolution", 32)
    args = (
        "--recipe",
        "microdit",
        "--weights",
        "tiny",
        *sizes,
        "--carry",
        "image,caption",
        "--limit",
        2,
    )
    prep("encode", raw, tmp_path, *args)
    with tarfile.open(tmp_path / "shard_000000.tar") as tar:
        parts = {name.partition(".")[2] for name in tar.getnames()}
    assert {"json", "pickle", "64.pth", "32.pth", "txt"} < parts
    assert parts & {"jpg", "png", "webp"}
    told = prep(
        "encode", raw, tmp_path / "b", "--recipe", "dit", "--weights", "tiny", *sizes, code=2
    ).stderr
    assert "target dit stores latents of one resolution, the recipe has 2" in told


def test_an_index_of_nothing_and_a_verify_of_nothing_are_errors(tmp_path: Path) -> None:
    assert "has no .tar files" in prep("index", tmp_path, code=1).stderr
    prep("verify", tmp_path / "none", code=1)
    prep("index", tmp_path, "--subflavor", "x", code=2)


def test_verify_tells_what_is_wrong_and_exits_with_1(raw: Path, tmp_path: Path) -> None:
    prep(
        "encode",
        raw,
        tmp_path,
        "--weights",
        "tiny",
        "--resolution",
        64,
        "--limit",
        4,
        "--split",
        "1,0,0",
    )
    assert "all right: 1 shard, 4 samples, 12 parts checked" in prep("verify", tmp_path).stdout
    tar = tmp_path / "shard_000000.tar"
    data = bytearray(tar.read_bytes())
    data[3000] ^= 1
    tar.write_bytes(data)
    told = prep("verify", tmp_path, code=1).stdout
    assert "shard_000000.tar: its sha256 is" in told
    report = json.loads(prep("verify", tmp_path, "--json", code=1).stdout)
    assert not report["ok"]
