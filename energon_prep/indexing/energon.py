"""Station 7, indexing: what the installed Energon writes, read off its sources: importing it takes seconds.

An index from the ledger is only made for an Energon whose preparation is known, row by row, to write the same.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

_TABLES = (
    "CREATE TABLE IF NOT EXISTS samples ( tar_file_id INTEGER NOT NULL, sample_key TEXT NOT NULL UNIQUE, "
    "sample_index INTEGER NOT NULL, byte_offset INTEGER, byte_size INTEGER )",
    "CREATE TABLE IF NOT EXISTS sample_parts ( tar_file_id INTEGER, sample_index INTEGER, part_name TEXT, "
    "content_byte_offset INTEGER, content_byte_size INTEGER )",
)
_MEDIA_TABLES = {"media_metadata", "media_filters"}  #: that a preparation without a media filter does not make

#: What decides the rows, and the file it is in: how names are split, where samples begin and end, what an .idx holds.
_DECIDING = (
    ("config.py", "split_name_re ="),
    ("config.py", "skip_meta_re ="),
    ("itar.py", "def append(self, offset: int)"),
    ("prepare.py", "def _iter_tar_sample_members("),
    ("prepare.py", "def _preprocess_tar("),
    ("structs.py", "class WebdatasetInfo"),
)
#: sha256 of that; the same from 7.3.0 to 7.4.1, with which tests/indexing/test_equality.py passes.
_KNOWN = "865d57c01a7b1fc29f47f6a6c81cad9c6d4379d09d438252a12ea1659fb40d0e"

_SQL = re.compile(r'"\s*(CREATE (?:UNIQUE )?(TABLE|INDEX) IF NOT EXISTS (\w+)[^"]*?)\s*"')
_UNTOLD = re.compile(r'"""(?s:.*?)"""|#.*|\s+')  #: docstrings, comments, layout


class UnknownEnergonError(Exception):
    """The installed Energon is not one whose index we can write; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Energon:
    """The installed Energon, known. The SQL is its own, to the letter."""

    version: str
    tables: tuple[str, ...]
    indexes: tuple[str, ...]


def read_energon(folder: Path | None = None) -> Energon:
    """``folder``: where the sources are, by default those that would be imported. Raises UnknownEnergonError."""
    try:
        version = importlib.metadata.version("megatron-energon")
        folder = folder or _find_sources()
        deciding = "\n".join(
            _UNTOLD.sub("", find_block((folder / name).read_text(encoding="utf-8"), start)) for name, start in _DECIDING
        )
        writer = find_block((folder / "indexing.py").read_text(encoding="utf-8"), "class SqliteIndexWriter")
    except (importlib.metadata.PackageNotFoundError, OSError, ValueError) as error:
        raise UnknownEnergonError(f"its sources are not as expected ({error})") from error
    if hashlib.sha256(deciding.encode()).hexdigest() != _KNOWN:
        raise UnknownEnergonError(f"{version} takes tars apart by other code")
    tables, indexes = _statements(writer)
    if tuple(" ".join(table.split()) for table in tables) != _TABLES:
        raise UnknownEnergonError(f"{version} makes other tables")
    return Energon(version=version, tables=tables, indexes=indexes)


def find_block(source: str, start: str) -> str:
    """The statement, function or class that begins with ``start``, by its indentation. Raises ValueError."""
    lines = iter(source.splitlines())
    for line in lines:
        if line.lstrip().startswith(start):
            break
    else:
        raise ValueError(f"no {start!r}")
    indent = len(line) - len(line.lstrip())
    found = [line]
    for line in lines:
        text = line.lstrip()
        if text and len(line) - len(text) <= indent and not text.startswith(")"):
            break
        found.append(line)
    return "\n".join(found)


def _find_sources() -> Path:
    """Where Energon's sources are; ``megatron`` is a namespace, so that finding it imports nothing."""
    spec = importlib.util.find_spec("megatron")
    for location in (spec and spec.submodule_search_locations) or ():
        folder = Path(location) / "energon" / "flavors" / "webdataset"
        if folder.is_dir():
            return folder
    raise ValueError("there are none")


def _statements(writer: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The SQL that makes the tables, and that makes their indexes when they are filled."""
    found = [(kind, name, sql) for sql, kind, name in _SQL.findall(writer)]
    tables = tuple(sql for kind, name, sql in found if kind == "TABLE" and name not in _MEDIA_TABLES)
    return tables, tuple(sql for kind, _, sql in found if kind == "INDEX")
