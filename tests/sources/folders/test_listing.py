from __future__ import annotations

import random
from pathlib import Path

import pytest

from energon_prep.errors import PrepError
from energon_prep.samples import RawSample
from energon_prep.sources.account import Account
from energon_prep.sources.folders.folder import FolderSource
from energon_prep.sources.options import SourceOptions
from tests.sources.reading import listed, load_all, write


def test_the_order_does_not_depend_on_when_files_were_made(tmp_path: Path) -> None:
    names = [f"{i % 7}/{i}.jpg" for i in range(50)]
    orders = []
    for seed in range(3):
        random.Random(seed).shuffle(names)
        for name in names:
            write(tmp_path / str(seed) / name)
        orders.append([entry.path for entry in listed(FolderSource(root=tmp_path / str(seed)))])
    assert orders[0] == orders[1] == orders[2] == sorted(names)


def test_the_output_of_an_earlier_run_within_the_folder_is_no_input(tmp_path: Path) -> None:
    write(tmp_path / "1.jpg")
    before = listed(FolderSource(root=tmp_path))
    write(tmp_path / "encoded" / ".energon-prep" / "run.json", "{}")
    write(tmp_path / "encoded" / "preview.jpg")
    assert listed(FolderSource(root=tmp_path)) == before


def test_an_empty_folder_stops_the_run_and_says_what_it_holds(tmp_path: Path) -> None:
    write(tmp_path / "notes.md")
    write(tmp_path / "a.txt")
    with pytest.raises(
        PrepError,
        match=r"nothing to encode in .*; it holds 1 \.txt without media, 1 \.md\. .* \.jpg",
    ):
        listed(FolderSource(root=tmp_path))


def test_a_part_to_carry_that_no_media_have_stops_the_run(tmp_path: Path) -> None:
    write(tmp_path / "cat.jpg")
    write(tmp_path / "dog.mask.png")
    with pytest.raises(PrepError, match=r"--carry mask\.png: no media have a part of that name"):
        listed(FolderSource(root=tmp_path, options=SourceOptions(carry_parts=("mask.png",))))


def test_folders_with_a_number_are_repeated_when_asked(tmp_path: Path) -> None:
    write(tmp_path / "8_cats" / "a.jpg")
    write(tmp_path / "8_cats" / "a.txt", "one\ntwo\nthree\nfour")
    write(tmp_path / "0_none" / "b.jpg")
    account = Account()
    assert len(list(FolderSource(root=tmp_path).list(account))) == 2
    assert account.told == [
        "folders named as 10_cats are taken once; --folder-repeats takes them as often as they say"
    ]
    options = SourceOptions(folder_repeats=True, captions="draw", caption_lines=True)
    source = FolderSource(root=tmp_path, options=options)
    assert [entry.start for entry in listed(source)] == list(range(8))
    drawn = [raw.caption for raw in load_all(source, cut=3) if isinstance(raw, RawSample)]
    assert len(drawn) == 8 and len(set(drawn)) > 1
    write(tmp_path / "20240101_trip" / "c.jpg")
    with pytest.raises(PrepError, match="would be taken 20240101 times: rename it"):
        listed(source)
