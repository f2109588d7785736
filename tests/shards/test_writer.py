from __future__ import annotations

import hashlib
import io
import json
import struct
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energon_prep.errors import PrepError
from energon_prep.samples import Reject
from energon_prep.shards.ledger import LedgerEntry, finished, load_rows, read_ledger
from energon_prep.shards.writer import ShardWriter, TarWriter, _header
from energon_prep.storage import LocalPublication, LocalStorage


def _reject(serial: int) -> Reject:
    return Reject(
        serial=serial,
        key=f"k{serial}",
        source="s",
        stage="decode",
        reason="truncated",
        detail="at 5",
    )


def test_a_finished_shard_has_tar_rejects_and_ledger_entry(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    with ShardWriter(storage, index=3, num_planned=3) as writer:
        writer.write(30, [(None, {"json": b"{}"})], notes={"cut": 1})
        writer.reject(_reject(31))
        writer.write(32, [(None, {"json": b"{}"})])
        entry = writer.finish()
    assert read_ledger(tmp_path) == [entry]
    assert finished(storage) == {3: entry}
    assert (entry.shard, entry.num_written, entry.num_rejected, entry.notes) == (
        "shard_000003.tar",
        2,
        1,
        {"cut": 1},
    )
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
        with pytest.raises(
            PrepError, match="2 samples planned, 1 written and 0 rejected: some are unaccounted for"
        ):
            writer.finish()
    assert not (tmp_path / "shard_000000.tar").exists()


def _write(
    storage: LocalStorage, index: int = 0, *, samples: int = 2, rejects: int = 0
) -> LedgerEntry:
    with ShardWriter(storage, index=index, num_planned=samples + rejects) as writer:
        for serial in range(samples):
            writer.write(
                serial, [(clip, {"json": b"{}", "pth": bytes(700)}) for clip in range(serial + 1)]
            )
        for serial in range(samples, samples + rejects):
            writer.reject(_reject(serial))
        return writer.finish()


def _files(root: Path) -> dict[str, bytes]:
    private = root / ".energon-prep"
    files = (path for path in root.rglob("*") if path.is_file() and path.parent != private / "tmp")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_the_idx_and_the_rows_come_with_the_tar(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    entry = _write(storage)
    assert set(_files(tmp_path)) == {
        "shard_000000.tar",
        "shard_000000.tar.idx",
        ".energon-prep/ledger/shard_000000.rows",
        ".energon-prep/ledger/shard_000000.json",
    }
    with tarfile.open(tmp_path / "shard_000000.tar") as tar:
        offsets = [member.offset for member in tar if member.name.endswith(".json")]
        ends = [*offsets, tar.offset]
    assert (
        list(struct.unpack(f"<{len(ends)}Q", (tmp_path / "shard_000000.tar.idx").read_bytes()))
        == ends
    )
    assert (entry.num_written, entry.num_samples, entry.num_parts) == (2, 3, 6)
    assert entry.mtime_ns == (tmp_path / "shard_000000.tar").stat().st_mtime_ns
    assert [key for _, key, *_ in load_rows(storage, entry).samples(0)] == [
        "samples/sample_000000000_0000",
        "samples/sample_000000001_0000",
        "samples/sample_000000001_0001",
    ]


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_a_shard_whose_tar_is_not_as_recorded_is_not_finished(tmp_path: Path, damage: str) -> None:
    storage = LocalStorage(tmp_path)
    _write(storage)
    tar = tmp_path / "shard_000000.tar"
    tar.unlink() if damage == "missing" else tar.write_bytes(tar.read_bytes()[:512])
    assert finished(storage) == {}


@pytest.mark.parametrize("name", ["shard_000000.tar.idx", ".energon-prep/ledger/shard_000000.rows"])
@pytest.mark.parametrize("damage", ["missing", "short"])
def test_a_lost_idx_or_rows_are_written_again(tmp_path: Path, name: str, damage: str) -> None:
    storage = LocalStorage(tmp_path)
    entry = _write(storage)
    before = _files(tmp_path)
    path = tmp_path / name
    path.unlink() if damage == "missing" else path.write_bytes(path.read_bytes()[:9])
    assert finished(storage) == {0: entry}
    assert _files(tmp_path) == before


def test_where_the_tar_is_another_of_the_same_size_the_shard_is_not_finished(
    tmp_path: Path,
) -> None:
    storage = LocalStorage(tmp_path)
    _write(storage)
    tar = tmp_path / "shard_000000.tar"
    tar.write_bytes(bytes(tar.stat().st_size))
    (tmp_path / "shard_000000.tar.idx").unlink()
    assert finished(storage) == {}


class Killed(BaseException):
    """A kill -9 takes no notice of ``except Exception`` either."""


class DyingStorage(LocalStorage):
    """Dies before its ``steps``-th change of what is under a final name."""

    def __init__(self, root: Path, steps: int) -> None:
        super().__init__(root)
        self._steps = steps

    def create(self, name: str) -> LocalPublication:
        publication = super().create(name)
        publish = publication.publish

        def step_and_publish() -> None:
            self._step()
            publish()

        publication.publish = step_and_publish  # type: ignore[method-assign]
        return publication

    def remove(self, name: str) -> None:
        self._step()
        super().remove(name)

    def _step(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise Killed


@pytest.mark.parametrize("samples", [2, 0])
@pytest.mark.parametrize("before", ["nothing", "another", "all rejected", "its tar is gone"])
def test_killed_between_any_two_changes_a_shard_is_finished_or_not_there(
    tmp_path: Path, before: str, samples: int
) -> None:
    _write(LocalStorage(tmp_path / "undisturbed"), samples=samples, rejects=1)
    expected = _files(tmp_path / "undisturbed")
    for steps in range(20):
        root = tmp_path / f"killed_{steps}"
        storage = LocalStorage(root)
        if before != "nothing":
            _write(storage, samples=0 if before == "all rejected" else 3, rejects=2)
        if before == "its tar is gone":
            (root / "shard_000000.tar").unlink()
        try:
            _write(DyingStorage(root, steps), samples=samples, rejects=1)
        except Killed:
            done = finished(storage)
            assert not done or done[0].num_rejected == 2, "an entry vouches for what is not there"
            if done and done[0].shard:
                load_rows(storage, done[0])
            _write(storage, samples=samples, rejects=1)
            assert {
                name: data for name, data in _files(root).items() if not name.endswith(".json")
            } == {name: data for name, data in expected.items() if not name.endswith(".json")}
        else:
            assert steps >= 3
            return
    raise AssertionError("it never came to an end")


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


SAMPLES = st.lists(
    st.dictionaries(
        st.sampled_from(["json", ".pth", "pickle"]), st.binary(max_size=1500), min_size=1
    )
)


@given(SAMPLES)
def test_tarfile_reads_back_what_was_written(samples: list[dict[str, bytes]]) -> None:
    file = io.BytesIO()
    writer = TarWriter(file)
    for i, parts in enumerate(samples):
        writer.write(f"samples/sample_{i:09d}", parts)
    digest = writer.finish()
    data = file.getvalue()
    assert digest == hashlib.sha256(data).hexdigest()
    assert writer.num_bytes == len(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
        found = [(m.name, tar.extractfile(m).read()) for m in members]  # type: ignore[union-attr]
    expected = [
        (f"samples/sample_{i:09d}.{p}", d)
        for i, parts in enumerate(samples)
        for p, d in parts.items()
    ]
    assert found == expected
    assert all(m.mtime == 0 and m.uid == 0 and m.uname == "" and not m.pax_headers for m in members)


@given(
    st.text(st.characters(max_codepoint=126), min_size=1, max_size=100), st.integers(0, 8**11 - 1)
)
def test_headers_are_those_of_tarfile(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    assert _header(name, size) == info.tobuf(
        format=tarfile.USTAR_FORMAT, encoding="ascii", errors="strict"
    )


@pytest.mark.parametrize(("name", "size"), [("caf\u00e9", 1), ("x" * 101, 1), ("x", 8**11)])
def test_names_and_sizes_beyond_ustar_raise(name: str, size: int) -> None:
    with pytest.raises(ValueError):
        _header(name, size)


def test_large_samples_are_written_piece_by_piece_to_the_same_bytes() -> None:
    parts = {"json": b"{}", "pth": bytes(range(256)) * 400, "pickle": b"x" * 512}
    written: list[bytes] = []

    class File(io.BytesIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            written.append(data)
            return super().write(data)

    file = File()
    writer = TarWriter(file)
    writer.write("samples/a", parts)
    writer.finish()
    assert any(data is parts["pth"] for data in written)
    with tarfile.open(fileobj=io.BytesIO(file.getvalue())) as tar:
        assert {m.name: tar.extractfile(m).read() for m in tar} == {  # type: ignore[union-attr]
            f"samples/a.{part}": data for part, data in parts.items()
        }
