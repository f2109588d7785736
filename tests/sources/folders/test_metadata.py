from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from energon_prep.errors import PrepError, SampleError
from energon_prep.samples import RawSample
from energon_prep.sources.account import Account
from energon_prep.sources.detect import open_source
from energon_prep.sources.folders.folder import FolderSource
from energon_prep.sources.folders.groups import UNNAMED
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.patterns import LEFT_OUT
from tests.sources.reading import load_all, only, write


def rows(*names: str) -> str:
    return "".join(
        json.dumps({"file_name": name, "text": f"row of {name}"}) + "\n" for name in names
    )


def account_of(root: Path, **options: object) -> Account:
    account = Account()
    list(FolderSource(root=root, options=SourceOptions(**options)).list(account))  # type: ignore[arg-type]
    account.check()
    return account


def captions(root: Path, **options: object) -> list[str]:
    outcomes = load_all(open_source(root, options=SourceOptions(**options)))  # type: ignore[arg-type]
    return [
        outcome.caption if isinstance(outcome, RawSample) else outcome.reason
        for outcome in outcomes
    ]


def test_each_split_has_its_own_metadata(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("0.jpg", "sub/1.jpg"):
            write(tmp_path / split / name, f"{split} {name}")
        write(tmp_path / split / "metadata.jsonl", rows("0.jpg", "sub/1.jpg"))
    outcomes = load_all(open_source(tmp_path))
    assert [(raw.media, raw.caption) for raw in outcomes if isinstance(raw, RawSample)] == [
        (f"{split} {name}".encode(), f"row of {name}")
        for split in ("test", "train")
        for name in ("0.jpg", "sub/1.jpg")
    ]
    account = account_of(tmp_path)
    assert (account.num_found, account.num_samples, account.num_companions) == (6, 4, 2)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".parquet"])
def test_metadata_in_every_form_of_table(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / "images" / "0.jpg", b"media")
    table = [{"file_name": "images/0.jpg", "text": "a cat"}]
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(table), tmp_path / "metadata.parquet")
    elif suffix in (".csv", ".tsv"):
        separator = "," if suffix == ".csv" else "\t"
        lines = (separator.join(values) for values in (table[0].keys(), table[0].values()))
        write(tmp_path / f"metadata{suffix}", "\n".join(lines) + "\n")
    else:
        write(tmp_path / f"metadata{suffix}", json.dumps(table if suffix == ".json" else table[0]))
    assert only(open_source(tmp_path)).caption == "a cat"
    assert account_of(tmp_path).num_found == 2


def test_captioned_media_that_no_row_names_are_samples_too(tmp_path: Path) -> None:
    for name in (
        "named.jpg",
        "loose.jpg",
        "loose.txt",
        "double.png",
        "double.png.txt",
        "bare.jpg",
        "named.txt",
    ):
        write(tmp_path / "a" / name, name)
    write(tmp_path / "elsewhere" / "x.jpg")
    write(tmp_path / "a" / "metadata.jsonl", rows("named.jpg", "gone.jpg"))
    assert captions(tmp_path, caption_from_name=True) == [
        "row of named.jpg",
        "cannot be read: No such file or directory",
        "double.png.txt",
        "loose.txt",
        "x",
    ]
    account = account_of(tmp_path)
    assert (account.num_samples, account.num_companions, account.passed_over) == (
        5,
        4,
        Counter({UNNAMED: 1}),
    )


def test_a_row_may_name_media_beside_its_folder(tmp_path: Path) -> None:
    for name in ("0.jpg", "1.jpg"):
        write(tmp_path / "images" / name)
    write(tmp_path / "metadata.jsonl", rows("images/0.jpg", "./images//1.jpg"))
    account = account_of(tmp_path)
    assert (account.num_found, account.num_samples, account.passed_over) == (3, 2, Counter())


@pytest.mark.parametrize(
    "card",
    [
        '{"name": "a dataset card"}',
        '{\n "name": "a card",\n "size": 1\n}',
        '["a", "b"]',
        "{broken",
        "3",
    ],
)
def test_a_dataset_card_is_no_table(tmp_path: Path, card: str) -> None:
    write(tmp_path / "a.jpg")
    write(tmp_path / "a.txt", "beside")
    write(tmp_path / "metadata.json", card)
    assert captions(tmp_path) == ["beside"]
    assert account_of(tmp_path).passed_over == Counter({".json without media": 1})


def test_the_json_of_an_image_called_meta_is_no_table(tmp_path: Path) -> None:
    write(tmp_path / "meta.JPG")
    write(tmp_path / "meta.json", '{"file_name": "meta.JPG", "text": "of the image"}')
    assert captions(tmp_path) == ["of the image"]
    assert account_of(tmp_path).num_companions == 1


def test_several_tables_in_a_folder_are_refused_with_the_remedy(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    for name in ("metadata.jsonl", "meta.jsonl"):
        write(tmp_path / name, rows("a.jpg"))
    with pytest.raises(
        PrepError, match=r"several manifests \(metadata.jsonl, meta.jsonl\).* --exclude"
    ):
        captions(tmp_path)
    assert captions(tmp_path, exclude=("meta.jsonl",)) == ["row of a.jpg"]
    assert account_of(tmp_path, exclude=("meta.jsonl",)).passed_over == Counter({LEFT_OUT: 1})


def test_rows_are_held_to_the_patterns_and_links_of_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "root"
    outside = write(tmp_path / "outside.jpg", b"outside")
    for name in ("good/0.jpg", "bad/1.jpg"):
        write(root / name)
    (root / "link.jpg").symlink_to(outside)
    write(root / "metadata.jsonl", rows("good/0.jpg", "bad/1.jpg", "link.jpg"))
    link = "a link leads out of the source (give --follow-links)"
    assert captions(root, exclude=("bad/*",)) == ["row of good/0.jpg", LEFT_OUT, link]
    assert captions(root, follow_links=True) == [
        "row of good/0.jpg",
        "row of bad/1.jpg",
        "row of link.jpg",
    ]


def test_a_table_that_is_a_link_is_read_on_top_of_the_folder_alone(tmp_path: Path) -> None:
    write(tmp_path / "store" / "metadata.jsonl", rows("a.jpg"))
    write(tmp_path / "store" / "a.jpg", b"of the store")
    for name in ("proj/a.jpg", "proj/deep/a.jpg"):
        write(tmp_path / name, b"of the project")
    (tmp_path / "proj" / "metadata.jsonl").symlink_to("../store/metadata.jsonl")
    (tmp_path / "proj" / "deep" / "metadata.jsonl").symlink_to("../../store/metadata.jsonl")
    assert only(open_source(tmp_path / "proj")).media == b"of the project"
    assert only(open_source(tmp_path / "proj" / "metadata.jsonl")).media == b"of the project"
    passed_over = {"links out of the source (--follow-links)": 1, UNNAMED: 1}
    assert account_of(tmp_path / "proj").passed_over == passed_over


def test_a_broken_row_is_a_reject_and_a_broken_table_stops(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    write(tmp_path / "metadata.jsonl", "{broken\n" + rows("a.jpg"))
    broken, good = load_all(open_source(tmp_path))
    assert isinstance(broken, SampleError) and isinstance(good, RawSample)
    write(tmp_path / "deep" / "metadata.csv", "")
    with pytest.raises(PrepError, match=r"must name its columns.* --exclude metadata\.csv"):
        open_source(tmp_path / "deep")
