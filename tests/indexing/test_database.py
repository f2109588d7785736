from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from energon_prep.errors import PrepError
from energon_prep.indexing.database import Holdings, add_rows, read_holdings
from energon_prep.shards.rows import ShardRows


def make_rows(first: int, num: int = 300) -> ShardRows:
    rows = ShardRows()
    for i in range(num):
        rows.add(
            f"{first + i:05d}", 2048 * i, [("json", 2048 * i + 512, 2), ("pth", 2048 * i + 1536, 9)]
        )
    rows.end = 2048 * num
    return rows


@pytest.fixture
def database(tmp_path: Path) -> Path:
    add_rows(tmp_path / "x.sqlite", [(0, make_rows(0)), (1, make_rows(300, 5))], stamp=-7)
    return tmp_path / "x.sqlite"


def sql(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement).fetchall()


def test_it_says_what_it_holds(database: Path) -> None:
    assert read_holdings(database) == Holdings(stamp=-7, shards=2, samples=305, parts=610)
    assert sql(database, "SELECT * FROM samples WHERE tar_file_id = 1")[1] == (
        1,
        "00301",
        1,
        2048,
        2048,
    )
    assert sql(database, "SELECT * FROM sample_parts WHERE tar_file_id = 1")[2] == (
        1,
        1,
        "json",
        2560,
        2,
    )


def test_tars_are_added_to_those_before_them(database: Path) -> None:
    add_rows(database, [(2, make_rows(400, 1))], stamp=8)
    assert read_holdings(database) == Holdings(stamp=8, shards=3, samples=306, parts=612)
    assert sql(database, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-4096]),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(b"x" * 100 + path.read_bytes()[100:]),
        lambda path: path.with_name("x.sqlite-journal").touch(),
        lambda path: sql(path, "DROP INDEX idx_sample_parts_full"),
        lambda path: sql(path, "DROP TABLE sample_parts"),
        lambda path: sql(path, "ALTER TABLE samples ADD COLUMN of_another_energon"),
        lambda path: sql(path, "DELETE FROM samples"),
    ],
)
def test_what_is_not_whole_holds_nothing(database: Path, spoil: Callable[[Path], object]) -> None:
    spoil(database)
    assert read_holdings(database) is None


def test_a_key_that_occurs_twice_is_told(database: Path) -> None:
    with pytest.raises(PrepError, match="two samples have the same key"):
        add_rows(database, [(2, make_rows(0, 1))], stamp=8)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        PrepError, match=r"cannot write .*x\.sqlite.* and run the same command again"
    ):
        add_rows(tmp_path / "none" / "x.sqlite", [], stamp=1)


def test_sqlite_sorts_elsewhere_again_afterwards(database: Path) -> None:
    assert sql(database, "PRAGMA temp_store_directory") == []
