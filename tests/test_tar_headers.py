from __future__ import annotations

import io
import random
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energon_prep.tar_headers import BLOCK, NO_END_MARK, Damage, Member, scan_members
from tests.sources.reading import write, write_tar

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
NAMES = st.text(st.characters(exclude_characters="\0\n", codec="utf-8"), min_size=1, max_size=150)


def members_of(path: Path, start: int = 0) -> list[Member]:
    items = list(scan_members(path, start))
    assert all(isinstance(item, Member) for item in items), items
    return [item for item in items if isinstance(item, Member)]


@pytest.mark.parametrize("tar_format", FORMATS)
def test_members_are_where_tarfile_finds_them(tmp_path: Path, tar_format: int) -> None:
    names = [
        "a.jpg",
        "d/" * 20 + "b.txt",
        "unterschied/gr\u00f6\u00dfe 1.json",
        "x/../../y.jpg",
        "/abs.jpg",
    ]
    names += [] if tar_format == tarfile.USTAR_FORMAT else ["l" * 90 + "/" + "o" * 240 + ".jpg"]
    sizes = (0, 1, 511, 512, 513, 9000)
    contents = [(name, bytes([65 + i]) * sizes[i]) for i, name in enumerate(names)]
    tar = write_tar(tmp_path / "a.tar", contents, tar_format=tar_format)
    data = tar.read_bytes()
    found = members_of(tar)
    assert [(m.name, data[m.data : m.data + m.size]) for m in found] == contents
    with tarfile.open(tar) as reference:
        assert [(m.start, m.data, m.size) for m in found] == [
            (m.offset, m.offset_data, m.size) for m in reference
        ]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(NAMES, st.binary(max_size=2000)), max_size=8), st.sampled_from(FORMATS[1:])
)
def test_any_names_and_contents_come_back(
    tmp_path_factory: pytest.TempPathFactory, contents: list[tuple[str, bytes]], tar_format: int
) -> None:
    tar = write_tar(tmp_path_factory.mktemp("tar") / "a.tar", contents, tar_format=tar_format)
    data = tar.read_bytes()
    found = members_of(tar)
    with tarfile.open(tar) as reference:
        assert [(m.start, m.data) for m in found] == [(m.offset, m.offset_data) for m in reference]
    assert [data[m.data : m.data + m.size] for m in found] == [content for _, content in contents]
    for member in found:  # and each can be begun at
        assert next(scan_members(tar, member.start)) == member


def test_links_devices_and_folders_are_told_apart_and_have_no_data(tmp_path: Path) -> None:
    kinds = {
        "soft": tarfile.SYMTYPE,
        "hard": tarfile.LNKTYPE,
        "pipe": tarfile.FIFOTYPE,
        "null": tarfile.CHRTYPE,
        "dir": tarfile.DIRTYPE,
        "v7 dir/": tarfile.AREGTYPE,
    }
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind in kinds.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        info = tarfile.TarInfo("after")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    found = members_of(tmp_path / "a.tar")
    assert [m.kind for m in found] == [
        "link",
        "link",
        "device",
        "device",
        "directory",
        "directory",
        "file",
    ]
    assert [m.size for m in found] == [0, 0, 0, 0, 0, 0, 3]


def test_a_type_that_no_standard_names_is_no_file_and_its_data_is_skipped(tmp_path: Path) -> None:
    info = tarfile.TarInfo("label.jpg")
    info.type, info.size = b"V", 600
    rest = write_tar(tmp_path / "rest.tar", [("after.jpg", b"abc")]).read_bytes()
    tar = write(tmp_path / "a.tar", info.tobuf(tarfile.GNU_FORMAT) + bytes(2 * BLOCK) + rest)
    assert [(m.name, m.kind) for m in members_of(tar)] == [
        ("label.jpg", "device"),
        ("after.jpg", "file"),
    ]
    with tarfile.open(tar) as reference:  # as Energon reads it
        assert [m.name for m in reference if m.isreg()] == ["after.jpg"]


def test_sparse_members_are_told_apart_and_skipped_right(tmp_path: Path) -> None:
    info = tarfile.TarInfo("sparse.jpg")
    info.type, info.size = b"S", 512
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[482] = 1  # one more block of the map
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 8 * 32)
    rest = write_tar(tmp_path / "rest.tar", [("after.jpg", b"abc")]).read_bytes()
    tar = write(tmp_path / "a.tar", bytes(header) + bytes(BLOCK) + b"d" * BLOCK + rest)
    assert [(m.name, m.kind, m.data) for m in members_of(tar)] == [
        ("sparse.jpg", "sparse", 1024),
        ("after.jpg", "file", 2048),
    ]


def test_pax_sparse_members_are_told_apart(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("GNUSparseFile.0/a.jpg")
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.name": "a.jpg"}
        tar.addfile(info)
    assert [m.kind for m in members_of(tmp_path / "a.tar")] == ["sparse"]


@pytest.mark.parametrize("flag", [b"0", b"x"])
def test_sizes_beyond_octal_are_read(tmp_path: Path, flag: bytes) -> None:
    size = 9 * 2**30
    info = tarfile.TarInfo("big.mp4")
    info.size = size
    head = info.tobuf(tarfile.GNU_FORMAT if flag == b"0" else tarfile.PAX_FORMAT)
    tar = write(tmp_path / "a.tar", head)
    with tar.open("r+b") as file:
        file.truncate(len(head) + size)
        file.seek(0, io.SEEK_END)
        file.write(write_tar(tmp_path / "rest.tar", [("after.jpg", b"abc")]).read_bytes())
    assert [(m.name, m.size) for m in members_of(tar)] == [("big.mp4", size), ("after.jpg", 3)]


def test_a_cut_at_any_byte_keeps_what_is_whole_and_shows(tmp_path: Path) -> None:
    contents = [("a.jpg", b"a" * 700), ("b.jpg", b"b" * 100), ("c" * 200, b"c" * 512)]
    whole = write_tar(tmp_path / "whole.tar", contents, tar_format=tarfile.PAX_FORMAT).read_bytes()
    members = members_of(tmp_path / "whole.tar")
    ends = [m.data + m.size for m in members]
    for cut in [*range(0, len(whole), 37), *ends, *(m.start for m in members)]:
        items = list(scan_members(write(tmp_path / "cut.tar", whole[:cut])))
        kept = [m for m in members if m.data + m.size <= cut]
        assert items[: len(kept)] == kept
        behind = -(-ends[len(kept) - 1] // BLOCK) * BLOCK if kept else 0
        if behind < cut < ends[-1] or cut == 0:
            assert isinstance(items[-1], Damage) and len(items) == len(kept) + 1, cut
            assert items[-1].start == behind
        elif cut <= ends[-1]:
            assert items[-1] == Damage(cut, NO_END_MARK) and len(items) == len(kept) + 1, cut


@pytest.mark.parametrize(
    ("tail", "what"),
    [
        (b"garbage " * 64, "here should be a header"),
        (b"\0" * 1024 + b"more", "bytes follow it"),
        (b"\0" * 2**22 + b"more", "bytes follow it"),
        (b"\1" * 100, "ends within a header"),
    ],
)
def test_what_follows_the_members_and_is_none_is_damage(
    tmp_path: Path, tail: bytes, what: str
) -> None:
    tar = write_tar(tmp_path / "a.tar", [("a.jpg", b"a")], end_mark=False)
    tar.write_bytes(tar.read_bytes() + tail)
    member, damage = scan_members(tar)
    assert isinstance(member, Member) and isinstance(damage, Damage)
    assert damage.start == 1024 and what in damage.what
    assert list(scan_members(tar, 1024)) == [damage]


@pytest.mark.parametrize(
    "records", [b"9 size=-1\n", b"99 path=x\n", b"x", b"11 size=abc\n", b"0 a=b\n"]
)
def test_garbled_pax_headers_are_damage(tmp_path: Path, records: bytes) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, len(records)
    head = info.tobuf(tarfile.USTAR_FORMAT) + records.ljust(BLOCK, b"\0")
    rest = write_tar(tmp_path / "rest.tar", [("a.jpg", b"a")]).read_bytes()
    (damage,) = scan_members(write(tmp_path / "a.tar", head + rest))
    assert isinstance(damage, Damage) and damage.start == 0


def test_an_extension_of_gigabytes_is_damage_not_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**32
    (damage,) = scan_members(write(tmp_path / "a.tar", info.tobuf(tarfile.GNU_FORMAT)))
    assert isinstance(damage, Damage) and "claims 4294967296 bytes" in damage.what


def test_random_damage_never_raises_and_always_ends(tmp_path: Path) -> None:
    whole = write_tar(
        tmp_path / "a.tar",
        [(f"{i}.jpg", b"x" * i) for i in range(20)],
        tar_format=tarfile.PAX_FORMAT,
    )
    data, rng = whole.read_bytes(), random.Random(0)
    for _ in range(300):
        broken = bytearray(data)
        for _ in range(rng.randrange(1, 20)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        items = list(scan_members(write(tmp_path / "b.tar", bytes(broken))))
        assert len(items) <= 21
        assert not any(isinstance(item, Damage) for item in items[:-1])


@pytest.mark.parametrize("size", [2**62, 2**70, -5])
@pytest.mark.parametrize(
    "kind", [tarfile.REGTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE]
)
def test_a_size_that_no_file_can_have_is_damage(tmp_path: Path, size: int, kind: bytes) -> None:
    member = tarfile.TarInfo("a.jpg")
    member.size, member.type = size, kind
    (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    (damage,) = scan_members(tmp_path / "a.tar")
    assert isinstance(damage, Damage)
