"""Metadata files as Hugging Face's image folders have them: each is the table of the media below
its folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

from energon_prep.errors import PrepError
from energon_prep.formats import MEDIA_SUFFIXES
from energon_prep.sources.captions import pick
from energon_prep.sources.folders.beside import METADATA_NAMES, is_metadata_name
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.path_set import PathSet
from energon_prep.sources.tables.manifest import ManifestSource
from energon_prep.sources.tables.rows import MEDIA_NAMES, RowMedia
from energon_prep.sources.walk import walk

_NUM_TRIED = 10  # rows that are looked at for media
_ALL = 2**62


@dataclass(frozen=True, kw_only=True)
class MetadataFiles:
    """The metadata files of a source, and the media that their rows name."""

    root: Path
    options: SourceOptions
    paths: tuple[str, ...]  #: relative to the root
    #: relative to the root; complete after ``starts`` of all
    named: PathSet = field(default_factory=PathSet)

    def starts(self, path: str) -> Iterator[int]:
        """Where the rows of one file begin. Notes which media they name."""
        manifest = ManifestSource(root=self.root, options=self.options)
        table = manifest.open(path)
        if any(media.content is not None for media in _first_media(manifest, path)):
            yield from table.starts()
            return
        first = next(table.starts(), None)
        if first is None:
            return
        for start, row in table.rows(first, _ALL):
            if name := manifest.named_file(path, row):
                self.named.add(name)
            yield start

    def covers(self, path: str) -> bool:
        """Whether ``path`` lies in or below the folder of one of the files."""
        return (
            any(folder in self._folders for folder in _folders_above(path))
            if self._folders
            else False
        )

    @cached_property
    def _folders(self) -> frozenset[str]:
        return frozenset(path.rpartition("/")[0] for path in self.paths)


def find_metadata(root: Path, options: SourceOptions) -> MetadataFiles:
    """The metadata files below ``root`` that are tables of media; a dataset card may have the same
    name.

    One on top of ``root`` may be a link, as if it had been given itself. Raises PrepError if a
    folder has several.
    """
    manifest = ManifestSource(root=root, options=options)
    on_top = (name for name in METADATA_NAMES if (root / name).is_file())
    found = dict.fromkeys(
        (*on_top, *walk(root, is_metadata_name, follow_links=options.follow_links))
    )
    by_folder: dict[str, str] = {}
    for path in found:
        if (
            options.takes(path)
            and not _lies_beside_media(root / path)
            and _is_table(manifest, path)
        ):
            folder = path.rpartition("/")[0]
            other = by_folder.setdefault(folder, path)
            if other != path:
                raise PrepError(
                    f"{root / folder} holds several manifests ({other}, {path}): give the one "
                    "that is meant instead of the folder, or leave others out with --exclude"
                )
    return MetadataFiles(root=root, options=options, paths=tuple(sorted(by_folder.values())))


def _folders_above(path: str) -> Iterator[str]:
    """The folder of ``path`` and those above it, "" for the root."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def _lies_beside_media(file: Path) -> bool:
    """Whether it is the JSON of an image that happens to be called ``meta.jpg``."""
    suffixes = (*MEDIA_SUFFIXES, *map(str.upper, MEDIA_SUFFIXES))
    return any(file.with_suffix(suffix).exists() for suffix in suffixes)


def _is_table(manifest: ManifestSource, path: str) -> bool:
    """Whether the file has rows with media. Raises PrepError for a table that cannot be read."""
    try:
        columns = manifest.open(path).columns()
        if columns is not None:
            return (
                pick(dict.fromkeys(columns, ""), manifest.options.media_key, MEDIA_NAMES)
                is not None
            )
        return any(True for _ in _first_media(manifest, path))
    except PrepError as error:
        if path.lower().endswith((".json", ".json.gz")):  # which may be anything
            return False
        raise PrepError(
            f"{error}. If it is no table of these media, leave it out with --exclude {path}"
        ) from error


def _first_media(manifest: ManifestSource, path: str) -> Iterator[RowMedia]:
    """Those of the first rows that name or hold media."""
    table = manifest.open(path)
    first = next(table.starts(), None)
    rows = () if first is None else table.rows(first, _NUM_TRIED)
    for _, row in islice(rows, _NUM_TRIED):
        media = manifest.media_of(row)
        if isinstance(media, RowMedia):
            yield media
