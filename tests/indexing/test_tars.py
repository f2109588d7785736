from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energon_prep.indexing.tars import end_problem, has_end_mark, iter_members, list_tars, split_name
from tests.indexing.tars import names, write_tar

paths = st.text(st.sampled_from("ab._/-1 "), max_size=14)


@given(paths)
def test_names_are_split_as_energon_splits_them(name: str) -> None:
    from megatron.energon.flavors.webdataset.config import skip_meta_re, split_name_re

    match = None if skip_meta_re.match(name) else split_name_re.match(name)
    assert split_name(name) == (match.groups() if match else None)


def test_tars_are_listed_as_energon_lists_them(tmp_path: Path) -> None:
    from megatron.energon.epathlib import EPath

    root, elsewhere = tmp_path / "set", tmp_path / "elsewhere"
    for name in ("b.tar", "a/z.tar", "a.b.tar", "a/.hidden.tar", ".nv-meta/x/y.tar", "c.tgz", "d.tar.gz", "e.tar.idx"):
        write_tar(root / name, [])
    write_tar(elsewhere / "linked.tar", [])
    (root / "far").symlink_to(elsewhere)
    (root / "a" / "loop").symlink_to(root)
    listing = list_tars(root)
    assert listing.tars == ("a/z.tar", "a.b.tar", "b.tar", "far/linked.tar")
    assert listing.compressed == ("c.tgz", "d.tar.gz")
    (root / "a" / "loop").unlink()  # Energon would go round
    (root / "c.tgz").unlink()
    official = sorted([*EPath(root).glob("**/*.tar"), *EPath(root).glob("**/*.tgz")])
    assert [tar.relative_to(EPath(root)) for tar in official] == list(listing.tars)


def test_members_stream(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", names(*map(str, range(50))))
    with tarfile.open(tar) as archive:
        for count, member in enumerate(iter_members(archive), 1):
            assert member.name.startswith(str((count - 1) // 2))
            assert not archive.members  # type: ignore[attr-defined]
        assert count == 100
        end = archive.offset
    assert end_problem(tar, end) is None
    assert has_end_mark(tar, end)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda data, end: data[:end], "no end-of-archive mark"),
        (lambda data, end: data[: end + 100], "cut or damaged at byte"),
        (lambda data, end: data[:end] + b"?" * 1024, "cut or damaged at byte"),
        (lambda data, end: data + data, "more data follows"),
        (lambda data, end: data[: end + 512], None),
    ],
)
def test_the_end_of_a_tar_is_looked_at(tmp_path: Path, change: object, problem: str | None) -> None:
    tar = write_tar(tmp_path / "a.tar", ["a.txt"])
    with tarfile.open(tar) as archive:
        archive.getmembers()
        end = archive.offset
    assert callable(change)
    tar.write_bytes(change(tar.read_bytes(), end))
    found = end_problem(tar, end)
    assert found is None if problem is None else found and problem in found
    assert has_end_mark(tar, end) == (problem in (None, "more data follows"))


def test_a_damaged_size_is_an_error_and_not_an_endless_loop(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", names("a", "b"))
    data = bytearray(tar.read_bytes())
    at = 512 + 1024
    header = tarfile.TarInfo("a.pth")
    header.size = -1024
    data[at : at + 512] = header.tobuf(tarfile.GNU_FORMAT)
    tar.write_bytes(data)
    with pytest.raises(tarfile.TarError), tarfile.open(tar) as archive:
        list(iter_members(archive))
