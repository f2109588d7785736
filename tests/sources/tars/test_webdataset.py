from __future__ import annotations

import random
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from energon_prep.errors import PrepError
from energon_prep.samples import RawSample
from energon_prep.sources.base import Piece
from energon_prep.sources.detect import make_source
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.tars.webdataset import WebDatasetSource
from tests.sources.reading import (
    account_of,
    keys_of,
    listed,
    load_all,
    only,
    samples,
    write,
    write_tar,
)


@pytest.mark.parametrize(
    "tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
)
def test_a_tar_as_img2dataset_writes_it(tmp_path: Path, tar_format: int) -> None:
    long_key = "deep/" * 60 + "0002"  # more than a header holds
    keys = ["000000000", "000000001", *([] if tar_format == tarfile.USTAR_FORMAT else [long_key])]
    tar = write_tar(tmp_path / "00000.tar", samples(*keys), tar_format=tar_format)
    outcomes = load_all(WebDatasetSource(root=tar), cut=1)
    assert outcomes == [
        RawSample(
            key=key,
            source="00000.tar",
            media_name=Path(key).name + ".jpg",
            media=b"media of " + key.encode(),
            captions=(key,),
            metadata={"n": 1},
        )
        for key in keys
    ]


def test_keys_with_dots_spaces_slashes_and_foreign_letters_stay_apart(tmp_path: Path) -> None:
    keys = [
        "v1.5_a",
        "v1.5_b",
        "two words",
        "sub/dir/1",
        "\u00fcber.\u732b",
        "../../escape",
        "/abs",
    ]
    tar = write_tar(tmp_path / "a.tar", samples(*keys), tar_format=tarfile.GNU_FORMAT)
    assert keys_of(load_all(WebDatasetSource(root=tar))) == keys


def test_names_that_lead_out_of_the_tar_write_nothing(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "in" / "a.tar", [("../out.jpg", b"x"), ("../out.txt", b"caption")])
    assert only(WebDatasetSource(root=tar)).key == "../out"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar", "in"]


def test_duplicate_keys_are_samples_of_their_own(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", samples("same", "same", "other", "same"))
    outcomes = load_all(WebDatasetSource(root=tar), cut=2)
    assert keys_of(outcomes) == ["same", "same", "other", "same"]


def test_hidden_members_folders_and_names_without_suffix_are_passed_over(tmp_path: Path) -> None:
    junk = [
        ("._0.jpg", b"mac"),
        (".git/1.jpg", b"x"),
        ("README", b"x"),
        ("__index__", b"x"),
        ("d.x/", b""),
    ]
    members = [junk[0], ("./0.jpg", b"media"), *junk, ("./0.txt", b"caption"), *junk]
    sample = only(WebDatasetSource(root=write_tar(tmp_path / "a.tar", members)))
    assert (sample.key, sample.caption) == ("0", "caption")


def test_listing_gives_the_offset_of_the_first_header_and_the_tars_size(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", samples("0", "1"), tar_format=tarfile.PAX_FORMAT)
    with tarfile.open(tar) as reference:
        offsets = [member.offset for member in reference][::3]
    entries = listed(WebDatasetSource(root=tmp_path))
    assert [(e.path, e.start, e.size) for e in entries] == [
        ("a.tar", o, tar.stat().st_size) for o in offsets
    ]


def test_any_cut_into_shards_gives_the_same_samples(tmp_path: Path) -> None:
    rng = random.Random(1)
    expected = []
    for number in range(3):
        keys = [f"{number}-{i}" for i in range(rng.randrange(1, 9))]
        write_tar(tmp_path / f"{number}.tar", samples(*keys))
        expected += keys
    for cut in (1, 2, 3, 100):
        assert keys_of(load_all(WebDatasetSource(root=tmp_path), cut=cut)) == expected


def test_samples_load_in_threads(tmp_path: Path) -> None:
    keys = [f"{i:03d}" for i in range(100)]
    write_tar(tmp_path / "a.tar", samples(*keys))
    source = WebDatasetSource(root=tmp_path)
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(lambda pending: pending.load(), source.read(Piece("a.tar", 0, 100))))
    assert [(raw.key, raw.media.read()) for raw in loaded] == [
        (key, b"media of " + key.encode()) for key in keys
    ]


def test_a_folder_of_tars_is_read_below_and_in_order(tmp_path: Path) -> None:
    for name in ("b.tar", "a/1.tar", "a/0.TAR", ".hidden/0.tar"):
        write_tar(tmp_path / name, samples(name))
    source = WebDatasetSource(root=tmp_path)
    assert keys_of(load_all(source)) == ["a/0.TAR", "a/1.tar", "b.tar"]
    some = WebDatasetSource(
        root=tmp_path, options=SourceOptions(include=("a/*",), exclude=("1.tar",))
    )
    assert keys_of(load_all(some)) == ["a/0.TAR"]
    assert account_of(some).passed_over["left out by --include/--exclude"] == 2


def test_files_in_a_folder_of_tars_are_sorted_too(tmp_path: Path) -> None:
    write_tar(tmp_path / "00000.tar", samples("0"))
    for name in ("00000.parquet", "00000_stats.json", "00000.tar.idx", "00000.idx"):
        write(
            tmp_path / name,
            '{"count": 1, "successes": 1, "failed_to_download": 0, "failed_to_resize": 0}',
        )
    for name in ("00001.parquet", "loose.jpg", "README.md", "LICENSE", "notes.txt"):
        write(tmp_path / name)
    account = account_of(WebDatasetSource(root=tmp_path))
    assert account.num_companions == 2 + 4
    assert account.passed_over == {
        ".parquet (a table: give it as SRC)": 1,
        ".jpg beside tars (--source-kind folder)": 1,
        ".md": 1,
        "without suffix": 1,
        ".txt without media": 1,
    }


@pytest.mark.parametrize("pattern", ["{00..02}.tar", "{00,01,00,02}.tar", "./{00..02}.tar"])
def test_brace_patterns(tmp_path: Path, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("00", "01", "02"):
        write_tar(tmp_path / f"{name}.tar", samples(name))
    monkeypatch.chdir(tmp_path)
    for root in (Path(pattern), tmp_path / pattern):
        assert keys_of(load_all(WebDatasetSource(root=root))) == ["00", "01", "02"]
        assert {entry.path for entry in listed(WebDatasetSource(root=root))} == {
            "00.tar",
            "01.tar",
            "02.tar",
        }


def test_brace_patterns_over_folders_and_names_with_braces(tmp_path: Path) -> None:
    write_tar(tmp_path / "x" / "0.tar", samples("x"))
    write_tar(tmp_path / "y" / "0.tar", samples("y"))
    write_tar(tmp_path / "{0,1}.tar", samples("braces in the name"))
    assert keys_of(load_all(WebDatasetSource(root=tmp_path / "{x,y}" / "0.tar"))) == ["x", "y"]
    assert keys_of(load_all(WebDatasetSource(root=tmp_path / "{0,1}.tar"))) == [
        "braces in the name"
    ]


def test_nothing_to_read_stops_the_run(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [])
    for root in (tmp_path, tmp_path / "a.tar"):
        with pytest.raises(PrepError, match="no samples in"):
            listed(WebDatasetSource(root=root))
    with pytest.raises(PrepError, match=r"cannot read .*gone\.tar"):
        listed(WebDatasetSource(root=tmp_path / "gone.tar"))


def test_tars_of_a_hub_snapshot_are_links_that_keep_their_names(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--x" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    write_tar(tmp_path / "models--x" / "blobs" / "sha", samples("0"))
    write_tar(tmp_path / "elsewhere.tar", samples("1"))
    (snapshot / "a.tar").symlink_to("../../blobs/sha")
    (snapshot / "b.tar").symlink_to(tmp_path / "elsewhere.tar")
    for root in (snapshot, snapshot / "a.tar", snapshot / "{a,a}.tar"):
        source = make_source(WebDatasetSource(root=root).describe())
        assert keys_of(load_all(source)) == ["0"]
    followed = WebDatasetSource(root=snapshot, options=SourceOptions(follow_links=True))
    assert keys_of(load_all(followed)) == ["0", "1"]
    assert account_of(WebDatasetSource(root=snapshot)).passed_over == {
        "links out of the source (--follow-links)": 1
    }


@pytest.mark.parametrize(
    "options", [{"captions_dir": "x"}, {"media_root": "x"}, {"folder_repeats": True}]
)
def test_options_of_other_sources_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    tar = write_tar(tmp_path / "a.tar", samples("0"))
    with pytest.raises(PrepError, match="means nothing where the source is tars"):
        listed(WebDatasetSource(root=tar, options=SourceOptions(**options)))
