from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
import yaml
from braceexpand import braceexpand

from energon_prep.errors import PrepError
from energon_prep.indexing import index
from energon_prep.indexing.build import is_known
from tests.indexing.by_energon import index_tables
from tests.indexing.found import OFFICIAL, OURS, meta_files, snapshot, tables
from tests.indexing.tars import write_foreign, write_ours

ENERGON = Path(sys.executable).with_name("energon")


def split_parts(root: Path) -> dict[str, list[str]]:
    config = yaml.safe_load((root / ".nv-meta" / "split.yaml").read_text())
    assert config["exclude"] == []
    return {
        name: list(chain.from_iterable(map(braceexpand, tars)))
        for name, tars in config["split_parts"].items()
    }


def test_it_gives_what_energon_prepare_gives(foreign: Path, foreign_once: Path) -> None:
    other = foreign_once.with_name("raw")
    command = [
        "prepare",
        "--non-interactive",
        "--split-ratio",
        "1,0,0",
        "--sample-type",
        "CrudeWebdataset",
    ]
    subprocess.run([ENERGON, *command, "--force-overwrite", other], check=True, capture_output=True)
    assert meta_files(foreign) == OFFICIAL | OURS
    assert tables(foreign) == tables(other)
    assert set(tables(foreign)) == {"samples", "sample_parts"}
    for name in (".info.json", "split.yaml"):
        assert (foreign / ".nv-meta" / name).read_text() == (other / ".nv-meta" / name).read_text()
    for idx in other.rglob("*.idx"):
        assert (foreign / idx.relative_to(other)).read_bytes() == idx.read_bytes()
    dataset = yaml.safe_load((foreign / ".nv-meta" / "dataset.yaml").read_text())
    assert dataset == yaml.safe_load((other / ".nv-meta" / "dataset.yaml").read_text())
    info = json.loads((foreign / ".nv-meta" / ".info.json").read_text())
    assert yaml.safe_load((foreign / ".nv-meta" / ".info.yaml").read_text()) == {
        "shard_counts": info["shard_counts"]
    }


@pytest.mark.filterwarnings("ignore:.pin_memory")
def test_energon_loads_every_sample_of_a_dataset_of_ours(ours_once: Path) -> None:
    from megatron.energon import WorkerConfig, get_loader, get_train_dataset

    from tests.indexing.loading import Encoder

    for split, shard in (("train", 0), ("val", 2)):
        dataset = get_train_dataset(
            ours_once,
            split_part=split,
            worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0),
            batch_size=None,
            shuffle_buffer_size=None,
            max_samples_per_sequence=None,
            task_encoder=Encoder(),
            repeat=False,
        )
        serials = [shard * 4 + i for i in range(3)]
        assert sorted(sample.__key__.rpartition("/")[2] for sample in get_loader(dataset)) == [
            f"sample_{serial:09d}" for serial in serials
        ]


def test_a_second_run_changes_nothing_and_another_split_only_the_split(foreign: Path) -> None:
    index(foreign, split="8,1,1")
    before = snapshot(foreign)
    report = index(foreign, split="8,1,1")
    assert (report.prepared, report.dataset_yaml) == (False, "unchanged")
    assert snapshot(foreign) == before
    report = index(foreign, split="3,2,1")
    assert not report.prepared
    after = snapshot(foreign)
    assert {name for name in after if after[name] != before[name]} == {".nv-meta/split.yaml"}
    assert split_parts(foreign) == {
        "train": ["more/x.tar", "part_000.tar", "part_001.tar"],
        "val": ["part_002.tar", "part_003.tar"],
        "test": ["part_004.tar"],
    }


def test_tars_of_others_are_prepared_without_the_table_too(tmp_path: Path) -> None:
    root = write_foreign(tmp_path / "set")
    report = index(root, sqlite=False)
    assert (report.prepared, report.sqlite) == (True, False)
    assert meta_files(root) == (OFFICIAL | OURS) - {"index.sqlite"}
    assert not index(root, sqlite=False).prepared


def test_force_prepares_again_and_overwrites_an_edited_dataset_yaml(ours: Path) -> None:
    path = ours / ".nv-meta" / "dataset.yaml"
    written = path.read_text()
    assert yaml.safe_load(written)["subflavors"] == {"target": "dit"}
    path.write_text(edited := written.replace("dit", "mine"))
    assert index(ours).dataset_yaml == "kept"
    assert path.read_text() == edited
    report = index(ours, force=True)
    assert (report.prepared, report.dataset_yaml) == (True, "written")
    assert path.read_text() == written
    assert json.loads(json.dumps(report.to_dict()))["split"]["train"] == [2, 6]


def test_subflavors_are_added_to_those_of_the_target(ours: Path) -> None:
    path = ours / ".nv-meta" / "dataset.yaml"
    assert index(ours, subflavor={"a": "1", "target": "dit"}).dataset_yaml == "written"
    assert yaml.safe_load(path.read_text())["subflavors"] == {"target": "dit", "a": "1"}
    with pytest.raises(
        PrepError, match=r"subflavor target=wan: the dataset's target needs target=dit"
    ):
        index(ours, subflavor={"target": "wan"})
    report = index(ours)
    assert report.warnings == (
        ".nv-meta/dataset.yaml had the subflavor a=1, which is dropped: give it again to keep it",
    )
    assert yaml.safe_load(path.read_text())["subflavors"] == {"target": "dit"}


def test_a_split_left_empty_for_want_of_shards_is_told(ours: Path) -> None:
    (warning,) = index(ours, split="8,1,1").warnings
    assert "'test' is empty: 2 shards" in warning
    assert "samples_per_shard" in warning
    assert index(ours, split="8,1,0").warnings == ()


def test_dropped_excludes_and_an_unfinished_encode_are_told(ours: Path) -> None:
    path = ours / ".nv-meta" / "split.yaml"
    path.write_text(path.read_text().replace("exclude: []", "exclude: [shard_000002.tar]"))
    (ours / ".energon-prep" / "plan.jsonl").write_text("{}\n" * 5)
    unfinished, excluded = index(ours).warnings
    assert unfinished.startswith("2 shards of the plan")
    assert "shard_000002.tar" in excluded
    assert len(split_parts(ours)["train"]) == 2


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, energon_prep.indexing; print({'torch', 'megatron', 'numpy'} & "
        "set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("version", ["7.2.9", "8.0.0"])
def test_with_an_energon_that_is_not_known_its_own_preparation_is_used(
    tmp_path: Path, version: str
) -> None:
    info = tmp_path / "other" / f"megatron_energon-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: megatron-energon\nVersion: {version}\n"
    )
    root, twin = write_ours(tmp_path / "set"), write_ours(tmp_path / "twin")
    command = [sys.executable, "-m", "energon_prep", "index", "--workers", "2"]
    path = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(info.parent), os.environ.get("PYTHONPATH", "")]),
    }
    slow = subprocess.run(
        [*command, str(root)], env=path, capture_output=True, text=True, check=True
    )
    assert f"warning: megatron-energon {version} is none that this tool knows" in slow.stderr
    report = index(twin)
    assert report.warnings == ()
    assert f"{report.samples} samples" in slow.stdout
    assert index_tables(root) == index_tables(twin)
    assert [path.read_bytes() for path in sorted(root.glob("*.idx"))] == [
        path.read_bytes() for path in sorted(twin.glob("*.idx"))
    ]


@pytest.mark.parametrize(
    ("version", "known"), [("7.3.0", True), ("7.4.1", True), ("7.10", True), ("7.1.0", False)]
)
def test_which_energons_are_known(version: str, known: bool) -> None:
    assert is_known(version) == known


def test_nothing_is_written_outside_of_the_dataset(foreign: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("text")
    (foreign / "part_000.tar").rename(outside / "part_000.tar")
    (foreign / "far").symlink_to(outside)
    (foreign / "part_001.tar.idx").unlink(missing_ok=True)
    (foreign / "part_001.tar.idx").symlink_to(outside / "precious")
    with pytest.raises(PrepError) as refused:
        index(foreign)
    assert "far: it is a link to a folder" in str(refused.value)
    assert "part_001.tar.idx: it is a link" in str(refused.value)
    assert {path.name for path in outside.iterdir()} == {"precious", "part_000.tar"}
    assert (outside / "precious").read_text() == "text"
