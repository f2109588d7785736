"""Recognises what kind of source SRC is, and rebuilds a source from its description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from energon_prep.errors import PrepError, UsageError
from energon_prep.formats import MEDIA_SUFFIXES, suffix_of
from energon_prep.plugins import is_plugin, names_of
from energon_prep.sources.folders.folder import FolderSource
from energon_prep.sources.folders.metadata import find_metadata
from energon_prep.sources.media import URL
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.own import OwnSource
from energon_prep.sources.tables.line_lists import CAPTION_LISTS, MEDIA_LISTS, find_lists
from energon_prep.sources.tables.manifest import ManifestSource
from energon_prep.sources.tables.table_files import TABLE_SUFFIXES, is_table, table_suffix
from energon_prep.sources.tars.webdataset import (
    WebDatasetSource,
    expand_braces,
    is_brace_pattern,
    is_tar,
)
from energon_prep.sources.walk import absolute, walk

LocalSource: TypeAlias = FolderSource | ManifestSource | WebDatasetSource

SOURCES: Mapping[str, type[LocalSource]] = {
    "folder": FolderSource,
    "manifest": ManifestSource,
    "webdataset": WebDatasetSource,
}


def open_source(
    src: str | Path,
    *,
    kind: str | None = None,
    options: SourceOptions | None = None,
) -> LocalSource | OwnSource:
    """The source at ``src``, of the ``kind`` given or recognised: a key of SOURCES, or a class of
    the user's.

    Raises PrepError if there is nothing at ``src``, or nothing that can be recognised for certain.
    """
    if kind is not None and kind not in SOURCES and is_plugin("source", kind):
        return OwnSource(kind, str(src), _absolute_media_root(options or SourceOptions()))
    if url := URL.match(str(src)):
        raise UsageError(
            f"{src}: remote sources ({url[1]}) are not read yet; copy it here or mount it, "
            "and give the path"
        )
    if kind is not None and kind not in SOURCES:
        known = ", ".join([*SOURCES, *names_of("source")])
        raise UsageError(
            f"there is no source of kind {kind!r}: give one of {known}, or one of your own as "
            "package.module:Class (docs/extending.md)"
        )
    path, options = (
        absolute(Path(src).expanduser()),
        _absolute_media_root(options or SourceOptions()),
    )
    _check_exists(path)
    kind = kind or _recognise(path, options)
    if kind == "folder" and not path.is_dir():
        raise PrepError(f"a source of kind folder needs a folder, and {path} is none")
    if kind == "manifest" and path.is_dir():
        path = _manifest_in(path, options)
    return SOURCES[kind](root=path, options=options)


def make_source(description: Mapping[str, Any]) -> LocalSource | OwnSource:
    """The source that gave ``description``, which is what its ``describe`` returned, in this or
    another process.
    """
    options = dict(description)
    kind, root = options.pop("kind", None), options.pop("root", None)
    if isinstance(kind, str) and isinstance(root, str) and "plugin" in options:
        del options["plugin"], options["own"]
        return OwnSource(kind, root, SourceOptions.parse(options))
    if kind not in SOURCES or not isinstance(root, str):
        raise PrepError(
            f"not the description of a source that this version knows: {dict(description)}"
        )
    return SOURCES[kind](root=Path(root), options=SourceOptions.parse(options))


def _absolute_media_root(options: SourceOptions) -> SourceOptions:
    """Other processes may have other working folders."""
    if options.media_root is None:
        return options
    return replace(options, media_root=str(absolute(Path(options.media_root).expanduser())))


def _recognise(path: Path, options: SourceOptions) -> str:
    if path.is_dir():
        return _recognise_folder(path, options)
    name = Path(expand_braces(path)[0]).name if is_brace_pattern(path) else path.name
    if is_tar(name):
        return "webdataset"
    if is_table(name):
        return "manifest"
    known = " ".join((".tar", *TABLE_SUFFIXES, *MEDIA_LISTS, *CAPTION_LISTS))
    raise PrepError(
        f"{path} is no source that is recognised by its name: give a folder, or a file named "
        f"{known}"
    )


def _recognise_folder(folder: Path, options: SourceOptions) -> str:
    found = _kinds_of_files(folder, options)
    if {"tar", "media"} <= found:
        raise PrepError(
            f"{folder} holds tars and loose images or videos: say which are meant with "
            "--source-kind webdataset or --source-kind folder"
        )
    if "tar" in found:
        return "webdataset"
    if find_lists(folder):
        return "manifest"
    if "media" in found or find_metadata(folder, options).paths:
        return "folder"
    return "manifest" if "table" in found else "folder"  # which says what it holds instead


def _kinds_of_files(folder: Path, options: SourceOptions) -> set[str]:
    """What lies in the folder and below: "tar", "media", "table". Stops looking where tars and
    media are mixed.
    """
    found: set[str] = set()
    for path in walk(
        folder,
        lambda name: _kind_of_file(name) is not None,
        follow_links=options.follow_links,
    ):
        if options.takes(path):
            found.add(str(_kind_of_file(path)))
        if found >= {"tar", "media"}:
            break
    return found


def holds_any(folder: Path) -> bool:
    """Whether anything in the folder or below is media, a tar or a table, by its name."""
    names = walk(folder, lambda name: _kind_of_file(name) is not None)
    return next(iter(names), None) is not None


def _kind_of_file(name: str) -> str | None:
    if is_tar(name):
        return "tar"
    if table_suffix(name):
        return "table"
    return "media" if suffix_of(name) in MEDIA_SUFFIXES else None


def _manifest_in(folder: Path, options: SourceOptions) -> Path:
    """The manifest that a folder stands for: the metadata file on top of it, or itself if it holds
    tables.
    """
    on_top = [path for path in find_metadata(folder, options).paths if "/" not in path]
    if not on_top and not find_lists(folder) and "table" not in _kinds_of_files(folder, options):
        raise PrepError(
            f"no table in {folder}: looked for {' '.join(TABLE_SUFFIXES)}; give the file itself"
        )
    return folder / on_top[0] if on_top else folder


def _check_exists(path: Path) -> None:
    if is_brace_pattern(path):
        tars = expand_braces(path)
        missing = [tar for tar in tars if not Path(tar).is_file()]
        if missing:
            raise PrepError(
                f"{len(missing)} of the {len(tars)} files of {path} do not exist, the first "
                f"is {missing[0]}"
            )
    elif not path.exists():
        hint = (
            "; a * is not expanded here, give the folder or a brace pattern {000..099}"
            if "*" in str(path)
            else ""
        )
        raise PrepError(f"the source {path} does not exist{hint}")
    elif not path.is_dir() and not path.is_file():
        raise PrepError(
            f"the source {path} is a pipe, a socket or a device: give a file, or a folder of files"
        )
