from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from energon_prep.errors import PrepError
from energon_prep.indexing import index
from energon_prep.storage import LocalStorage
from tests.indexing.found import meta_files, snapshot, tables
from tests.indexing.tars import names, write_foreign, write_ours, write_tar


def assert_refused(root: Path, message: str) -> None:
    """The dataset is not indexed, and nothing of an index is there."""
    with pytest.raises(PrepError) as caught:
        index(root)
    assert message in str(caught.value)
    assert meta_files(root) == set()


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
    assert_refused(root, message)
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
    assert_refused(root, message)


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
