"""Metadata files as Hugging Face's image folders have them: each is the table of the media below its folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from energon_prep.errors import PrepError
from energon_prep.formats import MEDIA_SUFFIXES
from energon_prep.sources.captions import pick
from energon_prep.sources.manifest import (
    MANIFEST_SUFFIXES,
    MEDIA_NAMES,
    bytes_in,
    media_column,
    open_rows,
)
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.path_set import PathSet
from energon_prep.sources.patterns import is_chosen
from energon_prep.sources.walk import walk

METADATA_NAMES = tuple(f"{stem}{suffix}" for stem in ("metadata", "meta") for suffix in MANIFEST_SUFFIXES)

_NUM_TRIED = 10  # rows that are looked at for media
_ALL = 2**62


def is_metadata_name(path: str) -> bool:
    return path.rpartition("/")[2] in METADATA_NAMES


@dataclass(frozen=True, kw_only=True)
class MetadataFiles:
    """The metadata files of a source, and the media that their rows name."""

    root: Path
    options: SourceOptions
    paths: tuple[str, ...]  #: relative to the root
    named: PathSet = field(default_factory=PathSet)  #: relative to the root; complete after ``starts`` of all

    def starts(self, path: str) -> Iterator[int]:
        """Where the rows of one file begin. Notes which media they name."""
        table = open_rows(self.root / path)
        if _holds_bytes(self.root / path, self.options):
            yield from table.starts()
            return
        first = next(table.starts(), None)
        if first is None:
            return
        for start, row in table.rows(first, _ALL):
            if isinstance(row, dict) and (name := named_file(self.root, path, row, self.options)):
                self.named.add(name)
            yield start

    def covers(self, path: str) -> bool:
        """Whether ``path`` lies in or below the folder of one of the files."""
        return any(folder in self._folders for folder in _folders_above(path)) if self._folders else False

    @cached_property
    def _folders(self) -> frozenset[str]:
        return frozenset(path.rpartition("/")[0] for path in self.paths)


def find_metadata(root: Path, options: SourceOptions) -> MetadataFiles:
    """The metadata files below ``root`` that are tables of media; a dataset card may have the same name.

    One on top of ``root`` may be a link, as if it had been given itself. Raises PrepError if a folder has several.
    """
    on_top = (name for name in METADATA_NAMES if (root / name).is_file())
    found = dict.fromkeys((*on_top, *walk(root, is_metadata_name, follow_links=options.follow_links, warn=False)))
    by_folder: dict[str, str] = {}
    for path in found:
        if _is_taken(path, options) and not _lies_beside_media(root / path) and _is_table(root / path, options):
            folder = path.rpartition("/")[0]
            other = by_folder.setdefault(folder, path)
            if other != path:
                raise PrepError(
                    f"{root / folder} holds several manifests ({other}, {path}): give the one that is meant instead "
                    "of the folder, or leave others out with --exclude"
                )
    return MetadataFiles(root=root, options=options, paths=tuple(sorted(by_folder.values())))


def named_file(root: Path, table: str, row: dict[str, Any], options: SourceOptions) -> str | None:
    """The media file that a row of ``table`` names, relative to ``root``; None if it names none below it."""
    column = media_column(row, options.media_key)
    value = None if column is None else row[column]
    if isinstance(value, dict):
        value = None if bytes_in(value) is not None else value.get("path")
    if not isinstance(value, str) or not value or "\0" in value:
        return None
    path = os.path.relpath(root / Path(table).parent / value, root)
    return None if path.split("/", 1)[0] == ".." else path


def _folders_above(path: str) -> Iterator[str]:
    """The folder of ``path`` and those above it, "" for the root."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def _is_taken(path: str, options: SourceOptions) -> bool:
    return is_chosen(path, include=options.include, exclude=options.exclude)


def _lies_beside_media(file: Path) -> bool:
    """Whether it is the JSON of an image that happens to be called ``meta.jpg``."""
    suffixes = (*MEDIA_SUFFIXES, *map(str.upper, MEDIA_SUFFIXES))
    return any(file.with_suffix(suffix).exists() for suffix in suffixes)


def _is_table(file: Path, options: SourceOptions) -> bool:
    """Whether the file has rows with media. Raises PrepError for a table that cannot be read."""
    try:
        columns = open_rows(file).columns()
        if columns is not None:
            return pick(dict.fromkeys(columns, ""), options.media_key, MEDIA_NAMES) is not None
        return any(media_column(row, options.media_key) is not None for row in _first_rows(file))
    except PrepError:
        if file.suffix.lower() == ".json":  # which may be anything
            return False
        raise


def _holds_bytes(file: Path, options: SourceOptions) -> bool:
    rows = list(_first_rows(file))
    return any(bytes_in(row.get(media_column(row, options.media_key) or "")) is not None for row in rows)


def _first_rows(file: Path) -> Iterator[dict[str, Any]]:
    table = open_rows(file)
    first = next(table.starts(), None)
    rows = () if first is None else table.rows(first, _NUM_TRIED)
    for _, row in islice(rows, _NUM_TRIED):
        if isinstance(row, dict):
            yield row
