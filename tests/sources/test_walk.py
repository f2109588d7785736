from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energon_prep.errors import PrepError
from energon_prep.formats import suffix_of
from energon_prep.samples import printable
from energon_prep.sources import walk as walk_module
from energon_prep.sources.walk import (
    HIDDEN,
    LINK_OUT,
    LINKED_FOLDER,
    LOOP,
    SPECIAL,
    WRITTEN,
    LinkRule,
    absolute,
    composed,
    find,
    walk,
)
from tests.sources.reading import write


def is_jpg(name: str) -> bool:
    return suffix_of(name) == ".jpg"


def test_paths_are_sorted_as_whole_paths_and_of_the_wanted_suffixes(tmp_path: Path) -> None:
    names = [
        "b.jpg",
        "a/2.JPG",
        "a/10.jpg",
        "a-b/1.jpg",
        "a.jpg",
        "a/notes.md",
        "a/x/1.jpg",
        "Z.jpg",
    ]
    for name in names:
        write(tmp_path / name)
    found = list(walk(tmp_path, is_jpg))
    assert found == sorted(name for name in names if name.lower().endswith(".jpg"))


def test_hidden_names_and_what_this_tool_wrote_are_passed_over(tmp_path: Path) -> None:
    for name in (
        ".hidden/deep/1.jpg",
        ".energon-prep/1.jpg",
        ".nv-meta/1.jpg",
        "._2.jpg",
        "seen.jpg",
    ):
        write(tmp_path / name)
    write(tmp_path / "encoded" / ".energon-prep" / "run.json")
    write(tmp_path / "encoded" / "shard_000000.jpg")
    assert list(walk(tmp_path, is_jpg)) == ["seen.jpg"]
    assert list(find(tmp_path)) == [
        ("._2.jpg", HIDDEN),
        (".energon-prep/1.jpg", HIDDEN),
        (".hidden/deep/1.jpg", HIDDEN),
        (".nv-meta/1.jpg", HIDDEN),
        ("encoded", WRITTEN),
        ("seen.jpg", ""),
    ]


def test_links_are_followed_within_the_root_alone_unless_asked(tmp_path: Path) -> None:
    write(tmp_path / "outside" / "1.jpg")
    root = tmp_path / "root"
    write(root / "deep" / "2.jpg")
    (root / "deep" / "loop").symlink_to(root)
    (root / "away").symlink_to(tmp_path / "outside")
    (root / "file.jpg").symlink_to(tmp_path / "outside" / "1.jpg")
    (root / "inside.jpg").symlink_to("deep/2.jpg")
    (root / "broken.jpg").symlink_to("nothing")
    (root / "itself.jpg").symlink_to(root / "itself.jpg")
    os.mkfifo(root / "pipe.jpg")
    files = [("broken.jpg", ""), ("deep/2.jpg", ""), ("inside.jpg", ""), ("itself.jpg", "")]
    others = [
        ("away", LINKED_FOLDER),
        ("deep/loop", LINKED_FOLDER),
        ("file.jpg", LINK_OUT),
        ("pipe.jpg", SPECIAL),
    ]
    assert sorted(find(root)) == sorted(files + others)
    assert list(walk(root, is_jpg)) == [path for path, _ in files]
    followed = [("away/1.jpg", ""), ("deep/loop", LOOP), ("file.jpg", ""), ("pipe.jpg", SPECIAL)]
    assert sorted(find(root, follow_links=True)) == sorted(files + followed)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_hidden_folder_that_cannot_be_listed_is_one_thing_found(tmp_path: Path) -> None:
    write(tmp_path / ".secret" / "1.jpg")
    (tmp_path / ".secret").chmod(0)
    assert list(find(tmp_path)) == [(".secret/", HIDDEN)]


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
def test_packed_runs_give_what_sorting_gives(names: list[str]) -> None:
    run, walk_module._RUN = walk_module._RUN, 3
    try:
        ordered = list(walk_module._sorted(names))
    finally:
        walk_module._RUN = run
    assert sorted(ordered) == sorted(names)
    assert [composed(name) for name in ordered] == sorted(map(composed, names))
    assert ordered == list(walk_module._sorted(reversed(names)))


def test_absolute_keeps_the_name_and_resolves_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "real" / "target.tar")
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "real" / "linked.tar").symlink_to("target.tar")
    real = (tmp_path / "real").resolve()
    assert absolute(tmp_path / "folder" / "linked.tar") == real / "linked.tar"
    assert absolute(tmp_path / "folder") == tmp_path.resolve() / "folder"
    monkeypatch.chdir(tmp_path / "folder")
    assert absolute(Path("linked.tar")) == real / "linked.tar"
    assert absolute(Path()) == real and absolute(Path("..")) == real.parent


@pytest.mark.parametrize(
    ("target", "is_outside"),
    [
        ("inside.jpg", False),
        ("../../blobs/sha", False),
        ("../../blobs/../secret", True),
        ("../../secret", True),
        ("../def/other.jpg", True),
        ("/etc/hostname", True),
    ],
)
def test_a_snapshot_of_the_hub_may_lead_into_its_blobs_alone(
    tmp_path: Path, target: str, is_outside: bool
) -> None:
    snapshot = tmp_path / "snapshots" / "abc"
    write(tmp_path / "blobs" / "sha")
    link = snapshot / "data" / "a.jpg"
    link.parent.mkdir(parents=True)
    link.symlink_to(f"../{target}" if not target.startswith("/") else target)
    for root in (snapshot, snapshot / "data"):
        outside = LinkRule.of(root, follow=False).target_outside(link) is not None
        assert outside == (is_outside or (root.name == "data" and target == "inside.jpg"))
    assert LinkRule.of(snapshot, follow=True).target_outside(link) is None


def test_blobs_that_lead_elsewhere_are_outside(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "sha")
    link = tmp_path / "hub" / "snapshots" / "abc" / "a.jpg"
    link.parent.mkdir(parents=True)
    (tmp_path / "hub" / "blobs").symlink_to(tmp_path / "elsewhere")
    link.symlink_to("../../blobs/sha")
    assert LinkRule.of(link.parent, follow=False).target_outside(link) == str(
        (tmp_path / "elsewhere" / "sha").resolve()
    )
