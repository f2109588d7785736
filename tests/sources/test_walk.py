from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energon_prep.errors import PrepError
from energon_prep.sources import walk as walk_module
from energon_prep.sources.walk import printable, suffix_of, walk
from tests.sources.reading import write


def is_jpg(name: str) -> bool:
    return suffix_of(name) == ".jpg"


def test_paths_are_sorted_as_whole_paths_and_of_the_wanted_suffixes(tmp_path: Path) -> None:
    names = ["b.jpg", "a/2.JPG", "a/10.jpg", "a-b/1.jpg", "a.jpg", "a/notes.md", "a/x/1.jpg", "Z.jpg"]
    for name in names:
        write(tmp_path / name)
    found = list(walk(tmp_path, is_jpg))
    assert found == sorted(name for name in names if name.lower().endswith(".jpg"))


def test_hidden_names_and_what_this_tool_wrote_are_passed_over(tmp_path: Path) -> None:
    for name in (".hidden/1.jpg", ".energon-prep/1.jpg", ".nv-meta/1.jpg", "._2.jpg", "seen.jpg"):
        write(tmp_path / name)
    write(tmp_path / "encoded" / ".energon-prep" / "run.json")
    write(tmp_path / "encoded" / "shard_000000.jpg")
    assert list(walk(tmp_path, is_jpg)) == ["seen.jpg"]


def test_linked_folders_are_not_followed_and_linked_files_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "outside" / "1.jpg")
    root = tmp_path / "root"
    root.mkdir()
    (root / "loop").symlink_to(root)
    (root / "away").symlink_to(tmp_path / "outside")
    (root / "file.jpg").symlink_to(tmp_path / "outside" / "1.jpg")
    (root / "broken.jpg").symlink_to(tmp_path / "nothing")
    (root / "itself.jpg").symlink_to(root / "itself.jpg")
    os.mkfifo(root / "pipe.jpg")
    assert list(walk(root, is_jpg)) == ["broken.jpg", "file.jpg", "itself.jpg"]
    assert "away is a link to a folder" in caplog.text


def test_a_folder_that_cannot_be_listed_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(PrepError, match=r"cannot list the folder .*gone"):
        list(walk(tmp_path / "gone", is_jpg))


@pytest.mark.skipif(sys.platform == "darwin", reason="file names are always UTF-8 there")
def test_names_that_are_not_utf8_are_found_and_can_be_printed(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    (path,) = walk(tmp_path, is_jpg)
    assert (tmp_path / path).read_bytes() == b"x"
    assert printable(path) == "caf\\udce9.jpg"


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\0"), min_size=1), unique=True))
def test_packed_runs_give_what_sorted_gives(names: list[str]) -> None:
    run, walk_module._RUN = walk_module._RUN, 3
    try:
        assert list(walk_module._sorted(names)) == sorted(names)
    finally:
        walk_module._RUN = run


def test_suffix_is_the_last_one_in_lower_case() -> None:
    assert [suffix_of(name) for name in ("a.b.JPG", "x/y.z/plain", "a.tar.gz")] == [".jpg", "", ".gz"]
