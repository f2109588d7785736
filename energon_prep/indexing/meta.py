"""Station 7, indexing: the files of .nv-meta and what they say."""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from energon_prep.recipes.safe_yaml import parse_yaml
from energon_prep.shards.rows import unpack

META_DIR = ".nv-meta"
INFO_JSON = ".info.json"  #: by Energon: {"energon_version", "shard_counts"}
INFO_YAML = ".info.yaml"  #: what Energon 5 and 6 read: {"shard_counts"}
SQLITE = "index.sqlite"
UUID = "index.uuid"
SPLIT_YAML = "split.yaml"
DATASET_YAML = "dataset.yaml"

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def to_yaml(value: object) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=10_000)
    return text


def from_yaml(text: str) -> Any:
    """Raises yaml.YAMLError."""
    return parse_yaml(text)


def idx_path(tar: Path) -> Path:
    """``shard_000000.tar`` -> ``shard_000000.tar.idx``."""
    return tar.with_suffix(".tar.idx")


def read_idx(path: Path) -> array[int]:
    """Header offset of each sample, then the offset of the end-of-archive mark. Raises OSError."""
    data = path.read_bytes()
    return unpack("Q", data[: len(data) // 8 * 8])


def read_shard_counts(meta: Path) -> dict[str, int] | None:
    """Samples of each shard in Energon's order, from .info.json; None if there is none that can be read."""
    try:
        counts = json.loads((meta / INFO_JSON).read_bytes())["shard_counts"]
        return {str(shard): int(count) for shard, count in counts.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


@contextmanager
def open_sqlite(path: Path) -> Iterator[sqlite3.Connection]:
    """index.sqlite, read only and without locks, as Energon opens it. Raises sqlite3.Error."""
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as connection:
        yield connection


def read_sqlite_counts(path: Path) -> dict[int, int]:
    """Samples of each tar_file_id in index.sqlite. Raises sqlite3.Error."""
    with open_sqlite(path) as connection:
        rows = connection.execute("SELECT tar_file_id, COUNT(*) FROM samples GROUP BY tar_file_id")
        return dict(rows.fetchall())
