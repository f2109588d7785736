"""Changes to a dataset of ``write_dit`` that verify is to notice."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml

TAR = "shard_000001.tar"


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def sql(root: Path, statement: str) -> None:
    with closing(sqlite3.connect(root / ".nv-meta" / "index.sqlite")) as connection, connection:
        connection.execute(statement)


def edit_json(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def edit_split(root: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = root / ".nv-meta" / "split.yaml"
    config = yaml.safe_load(path.read_text())
    edit(config)
    path.write_text(yaml.safe_dump(config))


def edit_dataset(root: Path, old: str, new: str) -> None:
    path = root / ".nv-meta" / "dataset.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def swap(root: Path, one: int, other: int) -> None:
    """Two shards take each other's place, with all that is recorded of them."""
    folders = [(root, ".tar"), (root, ".tar.idx"), (root / ".energon-prep/ledger", ".rows")]
    for folder, end in [*folders, (root / ".energon-prep/rejects", ".jsonl")]:
        a, b = (folder / f"shard_{number:06d}{end}" for number in (one, other))
        a.rename(root / "aside")
        b.rename(a)
        (root / "aside").rename(b)
    paths = [root / f".energon-prep/ledger/shard_{number:06d}.json" for number in (one, other)]
    entries = [json.loads(path.read_text()) for path in paths]
    for path, mine, theirs in zip(paths, entries, reversed(entries), strict=True):
        path.write_text(json.dumps({**theirs, "index": mine["index"], "shard": mine["shard"]}))


def other_counts(root: Path) -> None:
    path = root / ".nv-meta" / ".info.json"
    info = json.loads(path.read_text())
    edit_json(path, shard_counts={**info["shard_counts"], TAR: 4})
