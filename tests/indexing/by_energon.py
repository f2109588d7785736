"""What the installed Energon itself makes of the same tars, and the parts of an index that can be
compared.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def prepare_copy(root: Path) -> Path:
    """Links to the tars of ``root``, prepared by Energon in this process."""
    from megatron.energon import BaseWebdatasetFactory

    copy = root.with_name(f"{root.name}-official")
    copy.mkdir()
    tars = sorted(path.name for path in root.glob("*.tar"))
    for tar in tars:
        os.link(root / tar, copy / tar)
    ratio = [("train", 1.0), ("val", 0.0), ("test", 0.0)]
    BaseWebdatasetFactory.prepare_dataset(
        copy, tars, split_parts_ratio=ratio, shuffle_seed=None, workers=2
    )
    return copy


def index_files(root: Path) -> dict[str, bytes]:
    """Every .idx, and .info.json."""
    paths = [*root.glob("*.tar.idx"), root / ".nv-meta" / ".info.json"]
    return {path.name: path.read_bytes() for path in paths}


def index_tables(root: Path) -> dict[str, list[Any]]:
    """The schema, whatever its layout, and the rows of every table. Fails if sqlite finds the
    database unsound.
    """
    with closing(sqlite3.connect(root / ".nv-meta" / "index.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        made = database.execute("SELECT type, name, tbl_name, IFNULL(sql, '') FROM sqlite_master")
        schema = sorted(
            (kind, name, table, " ".join(sql.split())) for kind, name, table, sql in made
        )
        tables = [name for kind, name, _, _ in schema if kind == "table"]
        return {
            "schema": schema,
            **{name: sorted(database.execute(f"SELECT * FROM {name}")) for name in tables},
        }
