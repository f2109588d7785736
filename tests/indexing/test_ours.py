from __future__ import annotations

import json
import os
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from energon_prep.errors import PrepError
from energon_prep.indexing import index
from energon_prep.verifying.index import check_index
from tests.indexing.by_energon import index_files, index_tables
from tests.indexing.tars import write_ours
from tests.runs import prep

SQLITE = ".nv-meta/index.sqlite"
UUID = ".nv-meta/index.uuid"


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    root = write_ours(tmp_path / "set", shards=4)
    assert index(root).prepared
    return root


def content(root: Path) -> tuple[object, ...]:
    return index_files(root), index_tables(root), (root / UUID).read_text()


def mark(root: Path) -> None:
    """Make the database tell whether it was added to or made anew."""
    with closing(sqlite3.connect(root / SQLITE)) as database:
        database.execute("CREATE TABLE mark (x)")


def is_marked(root: Path) -> bool:
    with closing(sqlite3.connect(root / SQLITE)) as database:
        return bool(database.execute("SELECT 1 FROM sqlite_master WHERE name = 'mark'").fetchone())


def test_no_tar_is_opened(ours: Path) -> None:
    expected = content(ours)
    shutil.rmtree(ours / ".nv-meta")
    for tar in ours.glob("*.tar"):
        info = tar.stat()
        tar.write_bytes(bytes(info.st_size))
        os.utime(tar, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert index(ours).warnings == ()
    assert content(ours) == expected


@pytest.mark.parametrize(
    "name", [".info.json", "index.sqlite", "index.uuid", ".info.yaml", "split.yaml", "dataset.yaml"]
)
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_what_is_lost_of_an_index_comes_back(ours: Path, name: str, damage: str) -> None:
    expected = content(ours)
    path = ours / ".nv-meta" / name
    path.unlink() if damage == "missing" else path.write_bytes(path.read_bytes()[:10])
    index(ours, force=name == "dataset.yaml")
    assert content(ours) == expected
    assert not index(ours).prepared


def test_the_uuid_changes_with_the_content_alone(ours: Path) -> None:
    before = (ours / UUID).read_text()
    index(ours, force=True)
    index(ours, sqlite=False, split="1,1,0")
    assert (ours / UUID).read_text() == before
    shutil.rmtree(ours / ".nv-meta")
    index(ours)
    assert (ours / UUID).read_text() == before
    index(write_ours(ours, start=4, shards=5))
    assert (ours / UUID).read_text() != before


def test_shards_that_come_after_are_added(ours: Path) -> None:
    mark(ours)
    told: list[tuple[int, int]] = []
    index(
        write_ours(ours, start=4, shards=6), progress=lambda done, total: told.append((done, total))
    )
    assert told == [(1, 2), (2, 2)]
    assert is_marked(ours)
    with closing(sqlite3.connect(ours / SQLITE)) as database:
        database.execute("DROP TABLE mark")
    added = content(ours)
    assert index(ours, force=True).prepared
    assert content(ours) == added


def test_much_more_than_there_was_is_made_anew(ours: Path) -> None:
    mark(ours)
    index(write_ours(ours, start=4, shards=9))
    assert not is_marked(ours)
    assert len(index_tables(ours)["samples"]) == 18


@pytest.mark.parametrize("change", ["a shard in between", "another content", "one shard less"])
def test_where_the_old_shards_are_not_the_first_it_is_made_anew(
    tmp_path: Path, change: str
) -> None:
    root = write_ours(tmp_path / "set", shards=2)
    write_ours(root, start=3, shards=6)
    index(root)
    mark(root)
    if change == "a shard in between":
        write_ours(root, start=2, shards=3)
    elif change == "another content":
        write_ours(root, start=4, shards=7, samples=3)
    else:
        (root / "shard_000005.tar").unlink()
        (root / ".energon-prep" / "ledger" / "shard_000005.json").unlink()
    assert index(root).prepared
    assert not is_marked(root)
    found = content(root)
    shutil.rmtree(root / ".nv-meta")
    index(root)
    assert content(root) == found


def test_a_copy_with_other_times_is_checked_once_by_its_headers(ours: Path) -> None:
    copy = shutil.copytree(ours, ours.with_name("copy"), copy_function=shutil.copyfile)
    (warning,) = index(copy).warnings
    assert warning.startswith("4 tars, first shard_000000.tar, were copied or touched")
    assert not index(copy).prepared
    assert index(copy).warnings == ()
    assert content(copy) == content(ours)


def test_another_tar_of_the_same_size_is_refused(ours: Path) -> None:
    tar = ours / "shard_000002.tar"
    tar.write_bytes(tar.read_bytes().replace(b"sample_000000007.pth", b"sample_000000007.pht"))
    with pytest.raises(
        PrepError, match=r"shard_000002\.tar: its headers are not those .* or remove it and run"
    ):
        index(ours)
    tar.write_bytes(tar.read_bytes()[:-2560] + bytes(2560))
    with pytest.raises(PrepError, match=r"shard_000002\.tar: it (holds|is damaged)"):
        index(ours)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda idx: idx.unlink(),
        lambda idx: idx.write_bytes(b""),
        lambda idx: idx.write_bytes(bytes(len(idx.read_bytes()))),
    ],
)
def test_a_lost_idx_is_written_again(ours: Path, spoil: Callable[[Path], object]) -> None:
    expected = content(ours)
    spoil(ours / "shard_000001.tar.idx")
    assert index(ours).warnings == (
        "1 shards, first shard_000001.tar, had lost their .idx or their rows: these were "
        "written again",
    )
    assert content(ours) == expected


@pytest.mark.parametrize("touched", [False, True])
def test_damaged_rows_are_read_again_from_the_tar(ours: Path, touched: bool) -> None:
    expected = content(ours)
    rows = ours / ".energon-prep" / "ledger" / "shard_000001.rows"
    sound = rows.read_bytes()
    rows.write_bytes(sound[:60] + b"?" + sound[61:])
    if touched:
        os.utime(ours / "shard_000001.tar")
    index(ours, force=True)
    assert content(ours) == expected
    assert rows.read_bytes() == sound


def test_without_sqlite_a_table_that_is_stale_goes_and_a_current_one_stays(ours: Path) -> None:
    assert index(ours, sqlite=False).sqlite
    write_ours(ours, start=4, shards=5)
    report = index(ours, sqlite=False)
    assert (report.prepared, report.sqlite) == (True, False)
    assert not (ours / SQLITE).exists()
    assert not index(ours, sqlite=False).prepared
    tars = sorted(tar.name for tar in ours.glob("*.tar"))
    assert check_index(ours, tars, None, {}, deep=True).problems == ()
    report = index(ours)
    assert (report.prepared, report.sqlite) == (True, True)
    assert len(index_tables(ours)["samples"]) == 10


def test_the_command_says_that_the_table_is_left_out(ours: Path) -> None:
    assert "index.sqlite is current, and was kept" in prep("index", ours, "--no-sqlite").stdout
    (ours / SQLITE).unlink()
    told = prep("index", ours, "--no-sqlite").stdout
    assert told.startswith("index is current: 8 samples in 4 shards: train 4 shards / 8 samples")
    assert (
        "index.sqlite was left out: training in sequence does not need it, joins and random "
        "access do" in told
    )
    assert json.loads(prep("index", ours, "--no-sqlite", "--json").stdout)["sqlite"] is False
    assert "left out" not in prep("index", ours).stdout


def test_what_a_writer_that_died_left_is_not_applied_to_the_new_table(ours: Path) -> None:
    journal = ours / ".nv-meta" / "index.sqlite-journal"
    journal.write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    assert index(ours).prepared
    assert not journal.exists()


@pytest.mark.parametrize("grown", [False, True])
def test_a_full_disk_leaves_an_index_that_is_right_or_none(ours: Path, grown: bool) -> None:
    before = content(ours)
    write_ours(ours, start=4, shards=6) if grown else write_ours(ours, shards=4, samples=3)
    code = "from energon_prep.indexing import index; import sys; index(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(ours)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)),
    )
    assert re.search("PrepError: cannot (write|index) .*(full|large)", done.stderr)
    assert "run the same command again" in done.stderr
    if grown:
        assert content(ours)[1:] == before[1:]
        assert (ours / ".nv-meta" / "split.yaml").exists()
    else:
        assert {path.name for path in (ours / ".nv-meta").iterdir() if path.is_file()} == {
            "dataset.yaml"
        }
    assert index(ours).prepared
    assert len(json.loads((ours / ".nv-meta" / ".info.json").read_text())["shard_counts"]) == (
        6 if grown else 4
    )


@pytest.mark.filterwarnings("ignore:.pin_memory")
def test_energon_trains_without_the_table(tmp_path: Path) -> None:
    from megatron.energon import WorkerConfig, get_savable_loader, get_train_dataset

    from tests.indexing.loading import Encoder

    root = write_ours(tmp_path / "set", shards=5, samples=4)
    index(root, sqlite=False)
    dataset = get_train_dataset(
        root,
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=2),
        batch_size=None,
        shuffle_buffer_size=10,
        max_samples_per_sequence=3,
        task_encoder=Encoder(),
        repeat=False,
    )
    loader = get_savable_loader(dataset)
    seen = [sample.__key__ for _, sample in zip(range(7), loader, strict=False)]
    state = loader.save_state_rank()
    rest = [sample.__key__ for sample in loader]
    assert len(set(seen + rest)) == 20
    again = get_savable_loader(dataset)
    again.restore_state_rank(state)
    assert [sample.__key__ for sample in again] == rest
