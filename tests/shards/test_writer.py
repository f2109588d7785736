from __future__ import annotations

import json
from pathlib import Path

import pytest

from energon_prep.errors import PrepError
from energon_prep.samples import Reject
from energon_prep.shards.ledger import finished, read_ledger
from energon_prep.shards.writer import ShardWriter
from energon_prep.storage import LocalStorage


def _reject(serial: int) -> Reject:
    return Reject(serial=serial, key=f"k{serial}", source="s", stage="decode", reason="truncated", detail="at 5")


def test_a_finished_shard_has_tar_rejects_and_ledger_entry(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    with ShardWriter(storage, index=3, num_planned=3) as writer:
        writer.write(30, [(None, {"json": b"{}"})], truncated=True)
        writer.reject(_reject(31))
        writer.write(32, [(None, {"json": b"{}"})])
        entry = writer.finish()
    assert read_ledger(tmp_path) == [entry]
    assert finished(storage) == {3: entry}
    assert (entry.shard, entry.num_written, entry.num_rejected, entry.num_truncated) == ("shard_000003.tar", 2, 1, 1)
    assert entry.rejects == {"decode: truncated": 1}
    lines = (tmp_path / ".energon-prep/rejects/shard_000003.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {
        "serial": 31,
        "key": "k31",
        "source": "s",
        "stage": "decode",
        "reason": "truncated",
        "detail": "at 5",
    }


def test_an_abandoned_shard_leaves_nothing(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    with pytest.raises(RuntimeError), ShardWriter(storage, index=0, num_planned=2) as writer:
        writer.write(0, [(None, {"json": b"{}"})])
        raise RuntimeError
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_shard_of_rejects_has_an_entry_and_no_tar(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    (tmp_path / "shard_000000.tar").write_bytes(b"of a run before")
    with ShardWriter(storage, index=0, num_planned=1) as writer:
        writer.reject(_reject(0))
        entry = writer.finish()
    assert entry.shard == ""
    assert storage.names(".") == []
    assert finished(storage) == {0: entry}


def test_a_sample_that_is_neither_written_nor_rejected_stops_the_shard(tmp_path: Path) -> None:
    with ShardWriter(LocalStorage(tmp_path), index=0, num_planned=2) as writer:
        writer.write(0, [(None, {"json": b"{}"})])
        with pytest.raises(PrepError, match="2 samples planned, 1 written and 0 rejected: some are unaccounted for"):
            writer.finish()
    assert not (tmp_path / "shard_000000.tar").exists()


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_a_shard_whose_tar_is_not_as_recorded_is_not_finished(tmp_path: Path, damage: str) -> None:
    storage = LocalStorage(tmp_path)
    with ShardWriter(storage, index=0, num_planned=1) as writer:
        writer.write(0, [(None, {"json": b"{}"})])
        writer.finish()
    tar = tmp_path / "shard_000000.tar"
    tar.unlink() if damage == "missing" else tar.write_bytes(tar.read_bytes()[:512])
    assert finished(storage) == {}


def test_a_damaged_entry_says_what_to_do(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    with ShardWriter(storage, index=0, num_planned=1) as writer:
        writer.write(0, [(None, {"json": b"{}"})])
        writer.finish()
    (tmp_path / ".energon-prep/ledger/shard_000000.json").write_text('{"index": 0}')
    with pytest.raises(PrepError, match=r"shard_000000.json is not a ledger entry .*: remove it"):
        finished(storage)


def test_a_folder_of_others_has_no_ledger(tmp_path: Path) -> None:
    assert read_ledger(tmp_path) is None
