from __future__ import annotations

import tarfile
from contextlib import suppress
from pathlib import Path

import pytest

from energon_prep.errors import PrepError
from energon_prep.sources.account import Account
from energon_prep.sources.base import Piece
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.tars.webdataset import WebDatasetSource
from tests.sources.reading import account_of, keys_of, listed, load_all, samples, write, write_tar


def test_a_tar_cut_anywhere_is_damaged_and_gives_the_samples_before_the_cut(tmp_path: Path) -> None:
    keys = ["0", "1", "2"]
    whole = write_tar(tmp_path / "whole.tar", samples(*keys), end_mark=False).read_bytes()
    # where the last byte of a sample's JSON lies
    ends = [3 * 2 * 512 * number - 510 for number in (1, 2, 3)]
    for cut in range(0, len(whole) + 1, 128):
        source = WebDatasetSource(root=write(tmp_path / "cut.tar", whole[:cut]))
        account = Account()
        with suppress(PrepError):
            list(source.list(account))
        account.check()
        num_whole = sum(end < cut for end in ends)
        # Of the first sample one cannot know what it lacks where the cut is not within one of its
        # members.
        assert account.num_samples - num_whole in ((0, 1) if cut < ends[0] else (0,)), cut
        assert list(account.damaged) == ["cut.tar"], cut
        if num_whole:
            assert keys_of(load_all(source, cut=2)) == keys[:num_whole]


def test_what_is_damaged_is_told_with_the_place_and_what_is_read(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "whole.tar", samples("0", "1")).read_bytes()
    account = account_of(WebDatasetSource(root=write(tmp_path / "cut.tar", whole[: 9 * 512])))
    assert account.damaged == {
        "cut.tar": "byte 4096: of the member '1.txt' 1 bytes are missing; samples before it, which "
        "are read: 1"
    }
    assert account.passed_over == {"of samples that the end of a tar cuts": 1}


@pytest.mark.parametrize("garbage", [b"garbage!" * 64, bytes(1024)])
def test_what_follows_garbage_or_an_end_mark_is_damage(tmp_path: Path, garbage: bytes) -> None:
    first = write_tar(tmp_path / "first.tar", samples("0"), end_mark=False).read_bytes()
    second = write_tar(tmp_path / "second.tar", samples("1")).read_bytes()
    source = WebDatasetSource(root=write(tmp_path / "a.tar", first + garbage + second))
    assert keys_of(load_all(source)) == ["0"]
    told = account_of(source).damaged["a.tar"]
    assert ("joined with cat" if garbage == bytes(1024) else "should be a header") in told


def test_a_tar_without_end_mark_is_damaged_and_mended_by_what_is_told(tmp_path: Path) -> None:
    source = WebDatasetSource(root=write_tar(tmp_path / "a.tar", samples("0"), end_mark=False))
    assert keys_of(load_all(source)) == ["0"]
    told = account_of(source).damaged["a.tar"]
    assert "no end-of-archive mark" in told and "head -c 1024 /dev/zero >> TAR" in told
    with source.root.open("ab") as file:
        file.write(bytes(1024))
    assert not account_of(source).damaged


def test_an_empty_file_is_damaged_and_the_other_tars_are_read(tmp_path: Path) -> None:
    write(tmp_path / "0.tar", b"")
    write_tar(tmp_path / "1.tar", samples("1"))
    write_tar(tmp_path / "2.tar", [])
    source = WebDatasetSource(root=tmp_path)
    assert keys_of(load_all(source)) == ["1"]
    account = account_of(source)
    assert account.damaged == {
        "0.tar": "byte 0: the file is empty; samples before it, which are read: 0"
    }
    assert account.told == ["tars without samples: 1, first 2.tar"]


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar"])
def test_compressed_tars_are_refused_with_the_remedy(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / name, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("0.jpg"))
    write_tar(tmp_path / "b.tar", samples("b"))
    for root in (tmp_path, tmp_path / name):
        with pytest.raises(PrepError, match=f"{name} is compressed.*gunzip.*--exclude '{name}'"):
            listed(WebDatasetSource(root=root))
    rest = WebDatasetSource(root=tmp_path, options=SourceOptions(exclude=(name,)))
    assert keys_of(load_all(rest)) == ["b"]
    assert account_of(rest).passed_over == {"left out by --include/--exclude": 1}


def test_a_tar_that_shrank_since_the_listing_stops_the_run(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", samples("0"))
    with pytest.raises(PrepError, match="fewer samples than when it was listed"):
        list(WebDatasetSource(root=tmp_path).read(Piece("a.tar", 0, 2)))
    with pytest.raises(PrepError, match=r"cannot read .*gone\.tar"):
        list(WebDatasetSource(root=tmp_path).read(Piece("gone.tar", 0, 1)))


def test_a_tar_that_is_cut_or_gone_since_it_was_listed_is_no_fault_of_the_sample(
    tmp_path: Path,
) -> None:
    tar = write_tar(tmp_path / "a.tar", [("0.jpg", b"x" * 5000), ("0.txt", b"cat")])
    source = WebDatasetSource(root=tar)
    (entry,) = listed(source)
    (pending,) = source.read(Piece(entry.path, entry.start, 1))
    with tar.open("r+b") as file:
        file.truncate(3000)
    with pytest.raises(
        PrepError, match=r"a\.tar has changed since .* listed: it had \d+ bytes, and has 3000"
    ):
        pending.load()
    tar.unlink()
    with pytest.raises(PrepError, match="no fault of the sample"):
        pending.load()
