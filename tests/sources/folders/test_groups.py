from __future__ import annotations

import json
import os
import random
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energon_prep.sources.account import FURTHER_KINDS, Account
from energon_prep.sources.folders.folder import FolderSource
from energon_prep.sources.folders.groups import Sorter
from energon_prep.sources.folders.metadata import MetadataFiles
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.patterns import LEFT_OUT
from energon_prep.sources.tables.manifest import ManifestSource
from energon_prep.sources.walk import HIDDEN, LINK_OUT, LINKED_FOLDER, SPECIAL, WRITTEN, Found
from tests.sources.reading import listed, write


def account_of(root: Path, **options: object) -> Account:
    account = Account()
    entries = list(FolderSource(root=root, options=SourceOptions(**options)).list(account))  # type: ignore[arg-type]
    account.check()
    assert account.num_samples == len(entries)
    return account


def sort(paths: list[str], **given: Any) -> tuple[list[str], Account]:
    """The samples among ``paths``, none of which is on disk."""
    options, account = SourceOptions(**given), Account()
    metadata = MetadataFiles(root=Path("nowhere"), options=options, paths=())
    found = sorted(paths, key=lambda path: (unicodedata.normalize("NFC", path), path))
    sorter = Sorter(options, metadata, account)
    samples = [path for path, _ in sorter.samples(map(Found, found))]
    for _ in samples:
        account.add_sample()
    account.check()
    return samples, account


#: What a folder may hold: (suffix, how many of 1,000 files, what becomes of it; None: a sample).
MIXED = (
    *(
        (suffix, 30, None)
        for suffix in (".jpg", ".JPG", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".jfif", ".mp4")
    ),
    *((suffix, 30, None) for suffix in (".mkv", ".ts", ".m2ts", ".flv", ".ogv", ".gif")),
    *((suffix, 10, f"{suffix} (convert to PNG or MP4)") for suffix in (".svg", ".psd", ".nef")),
    *((suffix, 10, suffix) for suffix in (".md", ".py", ".npy", ".db")),
    (".csv", 10, ".csv (a table: give it as SRC)"),
    (".tar", 10, ".tar (--source-kind webdataset)"),
    ("", 10, "without suffix"),
    (".TXT", 50, ".txt without media"),
    (".json", 50, ".json without media"),
    (".caption", 50, ".caption without media"),
)


def write_a_thousand(tmp_path: Path) -> tuple[Counter[str | None], int]:
    """Mixed files; returns what is to become of them, samples under None, and how many are
    companions.
    """
    rng = random.Random(0)
    expected: Counter[str | None] = Counter()
    num_files = num_companions = 0
    for suffix, number, kind in MIXED:
        for i in range(number):
            folder = tmp_path / rng.choice(("", "a", "b c", "a/deep.er"))
            ending = rng.choice(("", "-x", "_" + chr(0xE9), ".v1" if suffix else "."))
            stem = f"{(suffix or 'none').strip('.')}{i}{ending}"
            write(folder / f"{stem}{suffix}", b"" if i % 7 == 0 else b"broken" * i)
            expected[kind] += 1
            num_files += 1
            if kind is None and i % 3:
                beside = rng.choice(
                    (".txt", ".json", ".caption", f"{suffix}.txt", f"{suffix}.JSON")
                )
                write(
                    folder / f"{unicodedata.normalize('NFD', stem)}{beside}",
                    b"" if i % 5 == 0 else b"{}",
                )
                num_companions += 1
                num_files += 1
    while num_files < 1000:
        write(tmp_path / rng.choice(("", ".git", "a/.cache")) / f".h{num_files}.jpg")
        expected[HIDDEN] += 1
        num_files += 1
    assert len({suffix for suffix, _, _ in MIXED}) >= 20
    assert num_files == 1000 == sum(1 for path in tmp_path.rglob("*") if path.is_file())
    return expected, num_companions


def test_a_thousand_mixed_files_are_all_accounted_for(tmp_path: Path) -> None:
    expected, num_companions = write_a_thousand(tmp_path)
    account = account_of(tmp_path, allow_empty_captions=True)
    assert account.num_found == 1000
    assert (account.num_samples, account.num_companions) == (expected.pop(None), num_companions)
    assert account.passed_over == expected
    assert account.passed_over.keys() == account.examples.keys()


def test_so_are_they_where_a_table_names_the_media(tmp_path: Path) -> None:
    expected, num_companions = write_a_thousand(tmp_path)
    media = {suffix.lower() for suffix, _, kind in MIXED if kind is None}
    visible = (
        path.relative_to(tmp_path)
        for path in sorted(tmp_path.rglob("*"))
        if path.suffix.lower() in media
    )
    names = [
        path.as_posix() for path in visible if not any(part.startswith(".") for part in path.parts)
    ]
    rows = [{"file_name": name, "text": "c"} for name in (*names, "gone.jpg", names[0])]
    write(tmp_path / "metadata.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    account = account_of(tmp_path)
    # the table, the row of no file, and the second row of one
    assert account.num_found == 1000 + 1 + 2
    assert (account.num_samples, account.num_companions) == (len(rows), num_companions + 1)
    assert len(rows) == expected.pop(None) + 2
    assert account.passed_over == expected
    alone = listed(ManifestSource(root=tmp_path / "metadata.jsonl"))
    assert len(alone) == len(rows)


def test_what_is_no_file_to_read_is_counted_by_kind(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside" / "2.jpg")
    root = tmp_path / "root"
    write(root / "1.jpg")
    write(root / "encoded" / ".energon-prep" / "run.json")
    write(root / "encoded" / "preview.jpg")
    (root / "linked.jpg").symlink_to(outside)
    (root / "folder").symlink_to(outside.parent)
    (root / ".hidden.jpg").symlink_to(outside)
    os.mkfifo(root / "pipe.jpg")
    (root / "to-pipe.jpg").symlink_to(root / "pipe.jpg")
    assert account_of(root).passed_over == Counter(
        [SPECIAL, *(HIDDEN, LINK_OUT, LINKED_FOLDER, SPECIAL, WRITTEN)]
    )
    followed = account_of(root, follow_links=True)
    assert (followed.num_samples, followed.passed_over) == (
        3,
        Counter({HIDDEN: 1, SPECIAL: 2, WRITTEN: 1}),
    )


def test_patterns_choose_media_and_take_or_leave_what_belongs_to_them(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "a/1.txt", "a/2.png", "a/2.png.txt", "b/3.jpg", "b/3.txt", "README.md"):
        write(tmp_path / name)
    account = account_of(tmp_path, include=("*.jpg",), exclude=("b/*",))
    assert (account.num_samples, account.num_companions, account.passed_over) == (
        1,
        1,
        Counter({LEFT_OUT: 5}),
    )
    account = account_of(tmp_path, exclude=("*.md",))
    assert (account.num_samples, account.num_companions, account.passed_over) == (
        3,
        3,
        Counter({LEFT_OUT: 1}),
    )


def test_a_suffix_that_was_asked_for_is_the_only_one(tmp_path: Path) -> None:
    for name in ("s0.input.jpg", "s0.mask.png", "s0.txt"):
        write(tmp_path / name)
    source = FolderSource(root=tmp_path, options=SourceOptions(media_key="input.jpg"))
    assert [entry.path for entry in listed(source)] == ["s0.input.jpg"]
    account = account_of(tmp_path, media_key="input.jpg")
    assert (account.num_companions, account.passed_over) == (
        1,
        Counter({".png (not the --image-key)": 1}),
    )


@pytest.mark.parametrize(
    ("paths", "samples", "left_out"),
    [
        (["s0.jpg", "s0.mask.png", "s0.txt"], ["s0.jpg"], "1 x mask.png"),
        (
            ["s0.input.jpg", "s0.jpg", "s0.jpg.txt", "s0.npy", "s0.depth.npy"],
            ["s0.jpg"],
            "1 x depth.npy, 1 x input.jpg, 1 x npy",
        ),
        (["v1.5_a.jpg", "v1.5_b.jpg", "v1.5_b.txt"], ["v1.5_b.jpg", "v1.5_a.jpg"], ""),
        (["v1.jpg", "v1.txt", *(f"v1.{i}.jpg" for i in range(100))], None, ""),
        (["d.x/1.jpg", "d.txt", "d.jpg", "d.x/npy"], ["d.x/1.jpg", "d.jpg"], ""),
        (["a.npy", "b.depth.npy", "b.txt"], [], ""),
    ],
)
def test_what_is_named_after_a_sample_and_has_no_caption_is_a_part_of_it(
    paths: list[str], samples: list[str] | None, left_out: str
) -> None:
    found, account = sort(paths)
    assert sorted(found) == sorted(
        [path for path in paths if path.endswith(".jpg")] if samples is None else samples
    )
    told = (
        "".join(account.told)
        .removeprefix("further parts of samples are left out: ")
        .partition(" (--carry")[0]
    )
    assert ", ".join(sorted(told.split(", "))) == left_out


def test_parts_that_are_carried_are_no_samples_and_not_left_out() -> None:
    paths = ["s0.mask.png", "s0.png", "s1.mask.png", "s1.mask.txt", "s1.png", "s2.mask.png"]
    found, account = sort(paths, carry_parts=("mask.png",))
    assert found == ["s0.png", "s1.png"] and account.told == []
    assert account.passed_over == {".mask.png without media": 1, ".txt without media": 1}


def test_kinds_without_end_are_counted_as_one() -> None:
    _, account = sort([f"x.{i:x}a" for i in range(300)])
    assert account.passed_over.total() == 300
    assert account.passed_over[FURTHER_KINDS] == 200


def test_a_file_that_a_row_names_is_found_once_whatever_it_is(tmp_path: Path) -> None:
    for name in ("a.svg", "b.bin", ".c.jpg"):
        write(tmp_path / name)
    (tmp_path / "d.jpg").symlink_to("/nowhere")
    rows = [
        {"file_name": name, "text": "x"}
        for name in ("a.svg", "b.bin", ".c.jpg", "d.jpg", "metadata.json")
    ]
    write(tmp_path / "metadata.json", json.dumps(rows))
    account = account_of(tmp_path)
    assert (account.num_found, account.num_samples, account.passed_over) == (6, 5, Counter())


_NAMES = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(("", "d/", "cat.d/")),
        st.sampled_from(
            ("cat", "cat.b", "cat.jpg", "caf\u00e9", "cafe\u0301", "cat-1", "ca", "v1.5_a")
        ),
        st.sampled_from(
            (".jpg", ".png", ".txt", ".json", ".caption", ".jpg.txt", ".png.json", ".md")
        ),
    ),
)


@settings(max_examples=100, deadline=None)
@given(st.sets(_NAMES, max_size=25))
def test_texts_belong_to_media_of_their_stem_or_name(names: set[str]) -> None:
    def composed(name: str) -> str:
        return unicodedata.normalize("NFC", name)

    samples, account = sort(sorted(names))
    media = {name for name in names if name.endswith((".jpg", ".png"))}
    parts = {name for name in names if name.endswith(".md")}
    texts = names - media - parts
    owners = {composed(name) for name in media} | {
        composed(name).rpartition(".")[0] for name in media
    }
    belong = {text for text in texts if composed(text).rpartition(".")[0] in owners}
    stems = {composed(name).rpartition(".")[0] for name in media}
    for part in parts:
        folder, slash, name = composed(part).rpartition("/")
        if not stems.isdisjoint(
            {composed(part).rpartition(".")[0], folder + slash + name.partition(".")[0]}
        ):
            belong.add(part)
    assert set(samples) <= media and len(samples) == len(set(samples))
    assert account.num_companions == len(belong) + len(media) - len(samples)
    assert account.passed_over.total() == len(names) - len(media) - len(belong)
    assert media - set(samples) <= {
        name for name in media if "." in name.rpartition("/")[2].rpartition(".")[0]
    }
