"""Station 7, indexing: the files of .nv-meta and what they say."""

from __future__ import annotations

import json
import sqlite3
import sys
from array import array
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

META_DIR = ".nv-meta"
INFO_JSON = ".info.json"  #: by Energon: {"energon_version", "shard_counts"}
INFO_YAML = ".info.yaml"  #: what Energon 5 and 6 read: {"shard_counts"}
SQLITE = "index.sqlite"
UUID = "index.uuid"
SPLIT_YAML = "split.yaml"
DATASET_YAML = "dataset.yaml"

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def to_yaml(value: object) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=10_000)
    return text


def from_yaml(text: str) -> Any:
    """Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Loader)


def idx_path(tar: Path) -> Path:
    """``shard_000000.tar`` -> ``shard_000000.tar.idx``."""
    return tar.with_suffix(".tar.idx")


def read_idx(path: Path) -> array[int]:
    """Header offset of each sample, then the offset of the end-of-archive mark. Raises OSError."""
    data = path.read_bytes()
    offsets = array("Q", data[: len(data) // 8 * 8])
    if sys.byteorder == "big":
        offsets.byteswap()
    return offsets


def read_shard_counts(meta: Path) -> dict[str, int] | None:
    """Samples of each shard in Energon's order, from .info.json; None if there is none that can be read."""
    try:
        counts = json.loads((meta / INFO_JSON).read_bytes())["shard_counts"]
        return {str(shard): int(count) for shard, count in counts.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
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
