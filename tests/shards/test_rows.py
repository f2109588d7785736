from __future__ import annotations

import io
import json
import tarfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energon_prep.shards.rows import ShardRows, read_tar
from energon_prep.shards.writer import TarWriter
from energon_prep.tar_headers import DamagedTarError

parts = st.dictionaries(
    st.sampled_from(["json", ".pth", "pickle", "latents.pth", "mean.bytes"]),
    st.binary(max_size=1500),
    min_size=1,
)
folders = st.sampled_from(["samples/", "", "a.b/c/", "d" * 90 + "/" + "e" * 60 + "/"])
written = st.lists(st.tuples(folders, parts), max_size=6)


def write(samples: list[tuple[str, dict[str, bytes]]]) -> tuple[ShardRows, bytes]:
    file = io.BytesIO()
    writer = TarWriter(file)
    for i, (folder, content) in enumerate(samples):
        writer.write(f"{folder}sample_{i:09d}", content)
    writer.finish()
    return writer.rows, file.getvalue()


@given(written)
def test_what_is_noted_while_writing_is_where_tarfile_finds_it(
    samples: list[tuple[str, dict[str, bytes]]],
) -> None:
    rows, data = write(samples)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
        end = tar.offset
    found = [(offset, size) for *_, offset, size in rows.parts(7)]
    assert found == [(member.offset_data, member.size) for member in members]
    names = [f"{rows.keys[number]}.{part}" for _, number, part, _, _ in rows.parts(7)]
    assert names == [member.name for member in members]
    sizes = [size for *_, size in rows.samples(7)]
    assert sum(sizes) == end == rows.end
    firsts = {key: offset for _, key, _, offset, _ in rows.samples(7)}
    assert list(firsts.values()) == [
        next(m.offset for m in members if m.name.startswith(f"{key}.")) for key in firsts
    ]
    assert {row[0] for row in rows.samples(7)} <= {7}


@given(written)
def test_rows_survive_the_disk_and_are_found_again_in_the_tar(
    samples: list[tuple[str, dict[str, bytes]]],
) -> None:
    rows, data = write(samples)
    for again in (ShardRows.from_bytes(rows.to_bytes()), read_tar(io.BytesIO(data))):
        assert again == rows
        assert list(again.samples(0)) == list(rows.samples(0))
        assert list(again.parts(0)) == list(rows.parts(0))
        assert (again.num_parts, again.end, again.idx()) == (rows.num_parts, rows.end, rows.idx())


ROWS, TAR = write([("samples/", {"json": b"{}", "pth": bytes(600)}), ("samples/", {"json": b"[]"})])


@given(st.binary(max_size=200))
def test_other_bytes_are_no_rows(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not the rows|damaged"):
        ShardRows.from_bytes(data)


@given(st.integers(0, len(ROWS.to_bytes()) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed(at: int, by: int) -> None:
    data = bytearray(ROWS.to_bytes())
    data[at] ^= by
    with pytest.raises(ValueError, match="CRC"):
        ShardRows.from_bytes(bytes(data))


@pytest.mark.parametrize(
    "change",
    [
        {"samples": 1},
        {"samples": -1},
        {"samples": 10**12},
        {"parts": 2},
        {"parts": 4},
        {"layouts": []},
        {"layouts": [["json", "pth"]]},
        {"layouts": [["json"], ["json"]]},
        {"layouts": 5},
        {"samples": None},
    ],
)
def test_a_head_that_does_not_fit_is_refused(change: dict[str, object]) -> None:
    head, _, body = ROWS.to_bytes()[:-4].partition(b"\n")
    data = json.dumps({**json.loads(head), **change}).encode() + b"\n" + body
    with pytest.raises(ValueError, match=r"not the rows|damaged"):
        ShardRows.from_bytes(data + zlib.crc32(data).to_bytes(4, "little"))


@pytest.mark.parametrize(
    "spoil", [lambda t: t[:700], lambda t: b"x" * 99 + t[99:], lambda t: t[:156] + b"5" + t[157:]]
)
def test_a_damaged_tar_has_no_rows(spoil: object) -> None:
    assert callable(spoil)
    with pytest.raises(DamagedTarError):
        read_tar(io.BytesIO(spoil(TAR)))


def test_a_sample_without_parts_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        TarWriter(io.BytesIO()).write("a", {})
