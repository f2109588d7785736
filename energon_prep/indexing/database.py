"""index.sqlite out of rows, in bulk. It serves random access, not training in sequence.

Its ``user_version`` is a stamp of what it was made of, so that it can be told apart however it came
to where it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from energon_prep.errors import PrepError
from energon_prep.indexing.meta import open_sqlite
from energon_prep.shards.rows import ShardRows

#: As Energon's SqliteIndexWriter makes it; tests/indexing/test_equality.py holds ours to that.
_TABLES = (
    """
    CREATE TABLE samples (
        tar_file_id INTEGER NOT NULL,
        sample_key TEXT NOT NULL UNIQUE,
        sample_index INTEGER NOT NULL,
        byte_offset INTEGER,
        byte_size INTEGER
    )
    """,
    """
    CREATE TABLE sample_parts (
        tar_file_id INTEGER,
        sample_index INTEGER,
        part_name TEXT,
        content_byte_offset INTEGER,
        content_byte_size INTEGER
    )
    """,
)
_INDEXES = (
    "CREATE INDEX idx_samples_by_tar_and_idx ON samples(tar_file_id, sample_index)",
    "CREATE INDEX idx_sample_parts_seq ON sample_parts(tar_file_id, sample_index, "
    "content_byte_offset)",
    "CREATE INDEX idx_sample_parts_full ON sample_parts"
    "(tar_file_id, sample_index, part_name, content_byte_offset, content_byte_size)",
)

_CACHE_KIB = 32 * 1024  #: for pages, and again for sorting: memory does not grow with the dataset

_BULK = (
    "journal_mode = OFF",  # what a failure spoils is not published
    "synchronous = OFF",  # synced once, when it is whole
    "locking_mode = EXCLUSIVE",
    f"cache_size = -{_CACHE_KIB}",
)


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """What a database says it holds, found without going through it."""

    stamp: int
    shards: int
    samples: int
    parts: int


def read_holdings(path: Path) -> Holdings | None:
    """None for a database that is missing, empty, damaged or not as Energon makes it."""
    if not path.is_file() or any(leftover.exists() for leftover in leftovers(path)):
        return None
    try:
        with open_sqlite(path) as database:
            made = {
                _normal(sql) for (sql,) in database.execute("SELECT sql FROM sqlite_master") if sql
            }
            if not made.issuperset(map(_normal, (*_TABLES, *_INDEXES))):
                return None
            (stamp,) = database.execute("PRAGMA user_version").fetchone()
            last = database.execute(
                "SELECT rowid, tar_file_id FROM samples ORDER BY rowid DESC LIMIT 1"
            ).fetchone()
            (parts,) = database.execute("SELECT MAX(rowid) FROM sample_parts").fetchone()
    except sqlite3.Error:
        return None
    return (
        Holdings(stamp=stamp, shards=last[1] + 1, samples=last[0], parts=parts)
        if last and parts
        else None
    )


def add_rows(path: Path, shards: Iterable[tuple[int, ShardRows]], *, stamp: int) -> None:
    """Add tars by number to a new database, or to one with the tars before them. Raises PrepError.

    ``path`` is a temporary file: after a failure it is of no use. What sqlite sorts on disk it
    sorts in its folder.
    """
    with _failures_named(path), closing(sqlite3.connect(path, isolation_level=None)) as database:
        for setting in _BULK:
            database.execute(f"PRAGMA {setting}")
        database.execute("BEGIN")
        for table in _TABLES:
            database.execute(_unless_there(table))
        for tar, rows in shards:
            database.executemany("INSERT INTO samples VALUES (?, ?, ?, ?, ?)", rows.samples(tar))
            database.executemany("INSERT INTO sample_parts VALUES (?, ?, ?, ?, ?)", rows.parts(tar))
        with _sorting_in(database, path.parent):
            for index in _INDEXES:  # sorting once beats keeping order row by row
                database.execute(_unless_there(index))
        database.execute(f"PRAGMA user_version = {stamp}")
        database.execute("COMMIT")


def leftovers(path: Path) -> list[Path]:
    """What a writer that died may leave beside a database: the next one to open it for writing
    would apply it.
    """
    return [path.with_name(path.name + suffix) for suffix in ("-journal", "-wal", "-shm")]


@contextmanager
def _sorting_in(database: sqlite3.Connection, folder: Path) -> Iterator[None]:
    """Sort beside the database: elsewhere (/var/tmp) there may not be room for as much again as
    half of it.
    """
    quoted = str(folder).replace("'", "''")
    database.execute(f"PRAGMA temp_store_directory = '{quoted}'")
    try:
        yield
    finally:
        database.execute("PRAGMA temp_store_directory = ''")


@contextmanager
def _failures_named(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise PrepError(
            f"two samples have the same key ({error}): the ledger is damaged, start over"
        ) from error
    except sqlite3.Error as error:
        raise PrepError(
            f"cannot write {path}: {error}: make room or mend that, and run the same command again"
        ) from error


def _normal(sql: str) -> str:
    """SQL as sqlite keeps it, but for the layout."""
    return " ".join(sql.split())


def _unless_there(sql: str) -> str:
    return sql.replace(" TABLE ", " TABLE IF NOT EXISTS ").replace(
        " INDEX ", " INDEX IF NOT EXISTS "
    )
