from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from braceexpand import braceexpand

from energon_prep.errors import PrepError
from energon_prep.indexing import index
from energon_prep.indexing.build import is_known
from energon_prep.storage import LocalStorage
from tests.indexing.by_energon import index_tables
from tests.indexing.tars import names, write_foreign, write_ours, write_tar

ENERGON = Path(sys.executable).with_name("energon")
OFFICIAL = {".info.json", "index.sqlite", "index.uuid"}
OURS = {".info.yaml", "split.yaml", "dataset.yaml"}


def meta_files(root: Path) -> set[str]:
    meta = root / ".nv-meta"
    return {path.name for path in meta.iterdir() if path.is_file()} if meta.is_dir() else set()


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    files = [
        path
        for path in root.rglob("*")
        if path.is_file() and ".nv-meta/.energon-prep" not in str(path)
    ]
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files
    }


def split_parts(root: Path) -> dict[str, list[str]]:
    config = yaml.safe_load((root / ".nv-meta" / "split.yaml").read_text())
    assert config["exclude"] == []
    return {
        name: list(chain.from_iterable(map(braceexpand, tars)))
        for name, tars in config["split_parts"].items()
    }


def tables(root: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(root / ".nv-meta" / "index.sqlite")) as connection:
        return {
            table: sorted(connection.execute(f"SELECT * FROM {table}"))
            for (table,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
            )
        }


@pytest.fixture(scope="module")
def ours_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_ours(
        tmp_path_factory.mktemp("ours") / "set", shards=3, samples=3, all_rejected=[1]
    )
    report = index(root, split="1,1,0")
    assert report.split == {"train": (1, 3), "val": (1, 3), "test": (0, 0)}
    assert (report.dataset_yaml, report.warnings) == ("written", ())
    return root


@pytest.fixture
def ours(ours_once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(ours_once, tmp_path / "set")


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


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: write_tar(root / "hollow.tar", []), "hollow.tar: it holds no sample"),
        (
            lambda root: (root / "zero.tar").write_bytes(b""),
            "zero.tar: it is cut, damaged or no (uncompressed) tar",
        ),
        (
            lambda root: os.truncate(root / "part_001.tar", 2000),
            "part_001.tar: it is cut, damaged or no (uncompressed) tar at byte 1536",
        ),
        (
            lambda root: os.truncate(root / "part_001.tar", 2600),
            "part_001.tar: it is cut, damaged or no (uncompressed) tar",
        ),
        (
            lambda root: os.truncate(root / "part_001.tar", 2 * 1536),
            "part_001.tar: it has no end-of-archive mark",
        ),
        (lambda root: write_tar(root / "a{1,2}.tar", ["a.pth"]), "'a{1,2}.tar': braces"),
        (lambda root: write_tar(Path(os.fsdecode(bytes(root) + b"/\xff.tar")), ["a.pth"]), "UTF-8"),
    ],
)
def test_what_energon_chokes_on_stops_and_leaves_no_half_index(
    tmp_path: Path, spoil: Any, message: str
) -> None:
    root = write_foreign(tmp_path / "set")
    spoil(root)
    with pytest.raises(PrepError) as caught:
        index(root)
    assert message in str(caught.value)
    assert meta_files(root) == set()
    assert not list(root.rglob("*.idx"))


def test_a_failed_preparation_takes_a_stale_index_with_it_and_the_next_run_is_clean(
    foreign: Path,
) -> None:
    write_tar(foreign / "odd.tar", ["README", "v1.5_a.pth", "v1.5_b.pth"])
    write_tar(foreign / "twice.tar", names("s/1_0"))
    (foreign / "old.tgz").write_bytes(b"")
    with pytest.raises(
        PrepError, match=r"twice.tar: s/1_0: the key is in part_001.tar too: rename"
    ):
        index(foreign)
    assert meta_files(foreign) == {"dataset.yaml"}
    (foreign / "twice.tar").unlink()
    told: list[tuple[str, bool]] = []
    report = index(
        foreign, tell=lambda warning: told.append((warning, (foreign / "odd.tar.idx").exists()))
    )
    assert report.prepared
    assert report.samples == len(tables(foreign)["samples"]) == 18
    compressed, *oddities = report.warnings
    assert told == [(oddity, False) for oddity in oddities]
    assert "old.tgz" in compressed
    assert sorted(oddity[:20] for oddity in oddities) == [
        "1 x names without ex",
        "2 x names with a dot",
    ]
    assert index(foreign).warnings == (compressed,)


def test_a_forced_preparation_that_fails_leaves_a_current_index(foreign: Path) -> None:
    before = snapshot(foreign)
    with pytest.raises(PrepError, match="took longer"):
        index(foreign, force=True, timeout=0.01)
    assert snapshot(foreign) == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: write_tar(root / "stray.tar", ["a.pth"]), "stray.tar: this stray tar"),
        (
            lambda root: (root / "shard_000001.tar").unlink(),
            "shard_000001.tar: it is in the ledger and missing",
        ),
        (
            lambda root: os.truncate(root / "shard_000001.tar", 1536),
            "shard_000001.tar: it has 1536 bytes",
        ),
        (
            lambda root: (root / ".energon-prep" / "run.json").write_text("{}"),
            "run.json does not name",
        ),
    ],
)
def test_a_dataset_of_ours_is_held_against_its_ledger(
    tmp_path: Path, spoil: Any, message: str
) -> None:
    root = write_ours(tmp_path / "set")
    spoil(root)
    with pytest.raises(PrepError) as caught:
        index(root)
    assert message in str(caught.value)
    assert meta_files(root) == set()


def test_other_counts_than_the_ledgers_are_refused_and_change_nothing(ours: Path) -> None:
    path = ours / ".energon-prep" / "ledger" / "shard_000002.json"
    entry = json.loads(path.read_text())
    path.write_text(json.dumps({**entry, "num_planned": 5, "num_written": 4, "num_samples": 4}))
    before = snapshot(ours)
    with pytest.raises(
        PrepError, match=r"shard_000002\.tar: it holds 3 samples .* and 4 of 6 in 8704 bytes were"
    ):
        index(ours)
    assert snapshot(ours).keys() - before.keys() <= {".energon-prep/lock"}
    assert {name: before[name] for name in before} == {
        name: snapshot(ours)[name] for name in before
    }


def test_where_there_is_nothing_to_index_nothing_is_written(tmp_path: Path) -> None:
    cases = {
        "absent": "not a folder",
        "empty": "no .tar files",
        "compressed": "unpack them",
        "rejected": "no finished shard",
        "s3://bucket/set": "mount it here",
    }
    (tmp_path / "empty").mkdir()
    write_tar(tmp_path / "compressed" / "a.tgz", [])
    write_ours(tmp_path / "rejected", all_rejected=[0, 1, 2])
    for name, message in cases.items():
        with pytest.raises(PrepError) as caught:
            index(name if "://" in name else tmp_path / name)
        assert message in str(caught.value)
        assert meta_files(tmp_path / name) == set()
    with pytest.raises(PrepError, match="workers 0"):
        index(tmp_path, workers=0)
    with pytest.raises(PrepError, match="three comma-separated"):
        index(tmp_path, split="1,2")


def test_of_two_at_once_the_second_is_refused(foreign: Path) -> None:
    with (
        LocalStorage(foreign / ".nv-meta").locked(),
        pytest.raises(PrepError, match=f"process {os.getpid()} on"),
    ):
        index(foreign)
    assert index(foreign).samples == 17


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    root = write_foreign(tmp_path / "set")
    (root / ".nv-meta").write_text("in the way")
    with pytest.raises(PrepError, match=r"\.nv-meta"):
        index(root)


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
