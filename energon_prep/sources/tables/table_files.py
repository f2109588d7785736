"""Which files are tables, told by their names and for JSON by what they begin with."""

from __future__ import annotations

import json
from functools import lru_cache, partial
from pathlib import Path

from energon_prep.errors import PrepError
from energon_prep.formats import suffix_of
from energon_prep.sources.media import MAX_TEXT_BYTES
from energon_prep.sources.tables.arrow import Arrow
from energon_prep.sources.tables.base import Table, open_text
from energon_prep.sources.tables.csv_rows import Csv, Tsv
from energon_prep.sources.tables.gzipped import is_gzip
from energon_prep.sources.tables.json_document import JsonDocument
from energon_prep.sources.tables.json_lines import JsonLines
from energon_prep.sources.tables.line_lists import (
    CAPTION_LISTS,
    MEDIA_LISTS,
    LineLists,
    captions_beside,
)
from energon_prep.sources.tables.parquet import Parquet

_TEXT_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
TABLE_SUFFIXES = (*_TEXT_SUFFIXES, ".parquet", ".arrow")
PACKED_SUFFIXES = tuple(f"{suffix}.gz" for suffix in _TEXT_SUFFIXES)


def table_suffix(name: str) -> str:
    """The suffix of a table's name, ".gz" behind it left out; "" if it is not that of a table."""
    suffix = suffix_of(name[:-3] if is_gzip(name) else name)
    allowed = _TEXT_SUFFIXES if is_gzip(name) else TABLE_SUFFIXES
    return suffix if suffix in allowed else ""


def is_table(name: str) -> bool:
    """Whether a file is a table by its name; a list of media (images.txt) is one too."""
    return bool(table_suffix(name)) or name in (*MEDIA_LISTS, *CAPTION_LISTS)


def open_rows(
    path: Path,
    *,
    encoding: str = "utf-8",
    media_root: Path | None = None,
    media_key: str | None = None,
) -> Table:
    """The table in a file. Raises PrepError if it is none.

    ``encoding`` is that of text; ``media_root`` is where the paths in it start from, if not in its
    own folder, and ``media_key`` where a row has them: by these a JSON object shows what it is.
    """
    suffix = table_suffix(path.name)
    if path.name in (*MEDIA_LISTS, *CAPTION_LISTS):
        return _lists(path, encoding)
    if suffix == ".parquet":
        return Parquet(path=path)
    if suffix == ".arrow":
        return Arrow(path=path)
    if suffix == ".csv":
        return Csv(path=path, encoding=encoding)
    if suffix == ".tsv":
        return Tsv(path=path, encoding=encoding)
    form = _json_form(path, _mtime(path))
    if form == "lines" or (form == "object" and suffix != ".json"):
        return JsonLines(path=path, encoding=encoding)
    return JsonDocument(path=path, encoding=encoding, media_root=media_root, media_key=media_key)


def _lists(path: Path, encoding: str) -> LineLists:
    if path.name in MEDIA_LISTS:
        return LineLists(path=path, captions=captions_beside(path), encoding=encoding)
    media = next(
        (path.with_name(name) for name in MEDIA_LISTS if path.with_name(name).is_file()), None
    )
    if media is None:
        raise PrepError(
            f"{path} is a list of captions, and beside it is no {' or '.join(MEDIA_LISTS)}"
        )
    return LineLists(path=media, captions=path, encoding=encoding)


@lru_cache(maxsize=64)
def _json_form(path: Path, mtime: int) -> str:
    """ "lines", or of one JSON value "list" or "object"; of the file as it is at ``mtime``."""
    with open_text(path) as file:
        lines = iter(partial(file.readline, MAX_TEXT_BYTES), b"")
        filled = (line for line in lines if not line.isspace())
        first = next(filled, b"").lstrip()
        if first.startswith(b"["):
            return "list"
        several = next(filled, None) is not None
    return "lines" if several and _is_json(first) else "object"


def _mtime(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise PrepError(f"cannot read the table {path}: {error.strerror}") from error


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
