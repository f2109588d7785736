from __future__ import annotations

import json
from pathlib import Path

import pytest

from energon_prep.errors import PrepError
from energon_prep.sources.account import Account
from energon_prep.sources.detect import open_source
from energon_prep.sources.options import SourceOptions
from tests.sources.reading import load_all, write

TRAIN, OTHER = "data/train-*-of-*.jsonl", "data/validation-00000-of-00001.jsonl"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of train with three rows each and one of validation with one."""
    write(tmp_path / "media" / "1.jpg")
    for name, num_rows in (
        ("train-00000-of-00002", 3),
        ("train-00001-of-00002", 3),
        ("validation-00000-of-00001", 1),
    ):
        row = json.dumps({"image": str(tmp_path / "media" / "1.jpg"), "text": name})
        write(tmp_path / "hub" / "data" / f"{name}.jsonl", f"{row}\n" * num_rows)
    write(tmp_path / "hub" / "README.md")
    return tmp_path / "hub"


def listed(src: Path, options: SourceOptions) -> tuple[Account, list[str]]:
    account = Account()
    paths = [entry.path for entry in open_source(src, options=options).list(account)]
    account.check()
    return account, paths


def test_all_splits_are_taken_and_that_is_told(folder: Path) -> None:
    account, paths = listed(folder, SourceOptions())
    assert len(paths) == 7 and (account.num_companions, account.passed_over) == (3, {".md": 1})
    assert account.told == [
        f"takes {TRAIN}: 2 files, 6 rows; {OTHER}: 1 file, 1 row",
        f"the splits train, validation are encoded together: choose with --include '{TRAIN}' "
        "or --exclude",
    ]
    assert len(load_all(open_source(folder))) == 7


@pytest.mark.parametrize(
    "options",
    [
        SourceOptions(include=("train-*",)),
        SourceOptions(include=(TRAIN,)),
        SourceOptions(exclude=("validation*",)),
        SourceOptions(include=("train-{00000..00001}-of-*",)),
    ],
)
def test_a_split_is_chosen_by_patterns(folder: Path, options: SourceOptions) -> None:
    account, paths = listed(folder, options)
    assert len(paths) == 6 and account.told == [f"takes {TRAIN}: 2 files, 6 rows"]
    assert account.passed_over == {".md": 1, "tables not chosen (--include, --exclude)": 1}


def test_a_brace_pattern_names_its_tables(folder: Path) -> None:
    pattern = folder / "data" / "train-{00000..00001}-of-00002.jsonl"
    account, paths = listed(pattern, SourceOptions())
    assert (
        sorted(set(paths)) == ["train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl"]
        and len(paths) == 6
    )
    assert account.told == ["takes train-*-of-*.jsonl: 2 files, 6 rows"]
    assert len(load_all(open_source(pattern))) == 6


def test_tables_without_media_are_passed_over_beside_others(folder: Path) -> None:
    write(folder / "results.csv", "epoch,loss\n1,2\n")
    account, paths = listed(folder, SourceOptions())
    assert len(paths) == 7 and account.passed_over["tables without media or captions"] == 1
    with pytest.raises(PrepError, match=r"results\.csv has no media column"):
        listed(folder, SourceOptions(include=("*.csv",)))


def test_tables_of_two_kinds_may_be_the_same_rows(folder: Path) -> None:
    write(folder / "all.csv", "image,text\n1.jpg,x\n")
    account, _ = listed(folder, SourceOptions())
    assert any(
        "tables of several kinds are taken (.csv .jsonl)" in sentence for sentence in account.told
    )


def test_json_files_are_tables_only_where_there_are_no_others(folder: Path) -> None:
    write(folder / "dataset_info.json", json.dumps({"features": {}}))
    account, paths = listed(folder, SourceOptions())
    assert len(paths) == 7 and account.passed_over == {".md": 1, ".json": 1}
    row = {"image": str(folder.parent / "media" / "1.jpg"), "text": "a"}
    write(folder.parent / "other" / "part.json", json.dumps([row]))
    assert len(load_all(open_source(folder.parent / "other"))) == 1
