from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from energon_prep.indexing.foreign import why_stale
from tests.indexing.tars import names, write_tar

TARS = ("more/x.tar", *(f"part_{shard:03d}.tar" for shard in range(5)))
COUNTS = {tar: 2 if tar == "more/x.tar" else 3 for tar in TARS}


def _newer_tar(root: Path) -> None:
    later = (root / "part_001.tar.idx").stat().st_mtime_ns + 1
    os.utime(root / "part_001.tar", ns=(later, later))


def _longer_tar(root: Path) -> None:
    write_tar(root / "part_001.tar", names("s/1_0", "s/1_1", "s/1_2", "s/new"))
    os.utime(root / "part_001.tar", ns=(0, 0))


def _other_rows(root: Path) -> None:
    with closing(sqlite3.connect(root / ".nv-meta" / "index.sqlite")) as connection, connection:
        connection.execute("DELETE FROM samples WHERE tar_file_id = 1 AND sample_index = 0")


def test_what_was_just_made_is_current(foreign: Path) -> None:
    assert why_stale(foreign, TARS, None) is None
    assert why_stale(foreign, TARS, COUNTS) is None


def test_without_the_table_it_is_current_where_none_is_wanted(foreign: Path) -> None:
    (foreign / ".nv-meta" / "index.sqlite").unlink()
    assert why_stale(foreign, TARS, None, sqlite=False) is None
    assert why_stale(foreign, TARS, None) is not None


def test_other_tars_or_counts_make_it_stale(foreign: Path) -> None:
    assert why_stale(foreign, TARS[:2], None) == "the tars are not those of the index"
    assert why_stale(foreign, (*TARS[1:], TARS[0]), None) == "the tars are not those of the index"
    assert why_stale(foreign, TARS, {**COUNTS, TARS[1]: 4}) == "the counts are not the ledger's"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda root: (root / "part_001.tar.idx").unlink(),
            "part_001.tar: its .idx cannot be read",
        ),
        (
            lambda root: (root / "part_001.tar.idx").write_bytes(b""),
            "part_001.tar: its .idx does not fit it",
        ),
        (
            lambda root: (root / "part_001.tar.idx").write_bytes(b"\xff" * 24),
            "part_001.tar: its .idx",
        ),
        (lambda root: (root / ".nv-meta" / ".info.json").unlink(), "there is no index"),
        (lambda root: (root / ".nv-meta" / ".info.json").write_text("{"), "there is no index"),
        (
            lambda root: (root / ".nv-meta" / ".info.json").write_text('{"shard_counts": []}'),
            "there is no index",
        ),
        (lambda root: (root / ".nv-meta" / "index.sqlite").unlink(), "index.sqlite cannot be read"),
        (
            lambda root: (root / ".nv-meta" / "index.sqlite").write_text("not one" * 99),
            "index.sqlite cannot be read",
        ),
        (_newer_tar, "part_001.tar: it is newer than its .idx"),
        (_longer_tar, "part_001.tar: its .idx does not fit it"),
        (_other_rows, "index.sqlite has other samples"),
    ],
)
def test_what_does_not_fit_makes_it_stale(
    foreign: Path, change: Callable[[Path], object], reason: str
) -> None:
    change(foreign)
    found = why_stale(foreign, TARS, None)
    assert found is not None
    assert found.startswith(reason)
