"""What is found in a dataset and its index."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

OFFICIAL = {".info.json", "index.sqlite", "index.uuid"}
OURS = {".info.yaml", "split.yaml", "dataset.yaml"}


def meta_files(root: Path) -> set[str]:
    meta = root / ".nv-meta"
    return {path.name for path in meta.iterdir() if path.is_file()} if meta.is_dir() else set()


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    files = [
        path
        for path in root.rglob("*")
        if path.is_file() and ".nv-meta/.energon-prep" not in str(path)
    ]
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files
    }


def tables(root: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(root / ".nv-meta" / "index.sqlite")) as connection:
        return {
            table: sorted(connection.execute(f"SELECT * FROM {table}"))
            for (table,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
            )
        }
