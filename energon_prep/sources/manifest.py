"""Station 1, sources: a manifest, a table whose rows name (or hold) the media and their captions."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from energon_prep.errors import PrepError, SampleError
from energon_prep.samples import Media, PendingSample, RawSample
from energon_prep.sources.account import Account
from energon_prep.sources.base import Entry, Piece
from energon_prep.sources.captions import CAPTION_NAMES, find_captions, jsonable, names_in, pick
from energon_prep.sources.links import absolute
from energon_prep.sources.media import MAX_TEXT_BYTES, URL, check_media_size, read_media, sniffed_suffix
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.parquet import Parquet
from energon_prep.sources.tables import Csv, JsonLines, JsonList, Row, Table, open_table
from energon_prep.sources.walk import printable, suffix_of, walk

MANIFEST_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
MEDIA_NAMES = (  #: columns with a path or bytes; URLs come last, to be refused by name
    *("file_name", "filename", "file", "path", "file_path", "filepath", "media", "media_path"),
    *("image", "image_path", "image_file", "img", "img_path", "video", "video_path", "video_file"),
    *("jpg", "png", "webp", "mp4", "url", "image_url", "video_url"),
)
KEY_NAMES = ("key", "id", "sample_id")


@dataclass(frozen=True, kw_only=True)
class ManifestSource:
    """Every row is a sample: its media column holds a path or bytes, its caption column text, the rest is metadata.

    A relative path is looked up from the manifest's folder and must not leave it; an absolute one is taken as it is.
    """

    root: Path  #: the manifest, or a folder of Parquet files
    options: SourceOptions = SourceOptions()

    def describe(self) -> dict[str, Any]:
        return {"kind": "manifest", "root": str(absolute(self.root)), **self.options.describe()}

    def list(self, account: Account) -> Iterator[Entry]:
        """One entry per row. Raises PrepError for a table that cannot be read or lacks the columns asked for."""
        entry = None
        follow_links = self.options.follow_links
        for path in walk(self.root, is_parquet, follow_links=follow_links) if self.root.is_dir() else (self.root.name,):
            table = open_rows(self._folder() / path)
            self._check_columns(path, table.columns())
            size = (self._folder() / path).stat().st_size
            for start in table.starts():
                entry = Entry(path, start, size)
                account.find()
                account.add_sample()
                yield entry
        if entry is None:
            raise PrepError(f"no rows in {self.root}")

    def read(self, piece: Piece) -> Iterator[PendingSample]:
        """The samples of the rows from ``piece.start`` on. Raises PrepError if the table has fewer by now."""
        for start, row in self.rows(piece):
            yield self.pending(piece.path, start, row)

    def rows(self, piece: Piece) -> Iterator[tuple[int, Row]]:
        """The rows of the piece with their places. Raises PrepError if the table has fewer by now."""
        file = self._folder() / piece.path
        num_read = 0
        for start, row in open_rows(file).rows(piece.start, piece.count):
            num_read += 1
            yield start, row
        if num_read < piece.count:
            raise PrepError(f"{file} has fewer rows than when it was listed: was it replaced? Restore it")

    def pending(self, path: str, start: int, row: Row) -> PendingSample:
        """The sample of the row at ``start`` of the table at ``path``, which is relative to the folder of the root."""
        file = self._folder() / path
        key = _key(row) or f"{file.stem}:{start}"
        load = partial(self._load, row, key, file.parent, path)
        return PendingSample(key=printable(key), source=printable(path), load=load)

    def _folder(self) -> Path:
        """What the entries' paths are relative to."""
        return self.root if self.root.is_dir() else self.root.parent

    def _check_columns(self, path: str, columns: Sequence[str] | None) -> None:
        if columns is None:
            return
        row = dict.fromkeys(columns, "")
        found = f"its columns: {', '.join(columns)}"
        media_key = self.options.media_key
        if pick(row, media_key, MEDIA_NAMES) is None:
            raise PrepError(f"{path} has no media column {media_key or '(give --image-key)'}; {found}")
        keys = self.options.caption_weights
        if not names_in(row, CAPTION_NAMES if not keys else ()) and not keys.keys() & row.keys():
            advice = "(give --caption-key, --caption or --allow-empty-captions)"
            if not self.options.has_fallback:
                raise PrepError(f"{path} has no caption column {' '.join(keys) or advice}; {found}")

    def _load(self, row: Row, key: str, folder: Path, path: str) -> RawSample:
        if isinstance(row, SampleError):
            raise row
        media_name = media_column(row, self.options.media_key)
        if media_name is None:
            raise SampleError("read", "no media in the row (give --image-key)", f"its columns: {', '.join(row)}")
        options = self.options
        name, media = _media(row[media_name], key, folder, max_bytes=options.max_bytes)
        captions = find_captions(lambda suffix: None, row, options=options, key=key, media_name=name)
        rest = {column: value for column, value in row.items() if column != media_name}
        return RawSample(
            key=printable(key),
            source=printable(path),
            media_name=printable(name),
            media=media,
            captions=captions.texts,
            num_captions_left_out=captions.num_left_out,
            metadata=jsonable(rest),
        )


def open_rows(path: Path) -> Table:
    """The table in a manifest file, by its suffix, and for JSON by its first character."""
    suffix = suffix_of(path.name)
    if is_parquet(path.name):
        return Parquet(path=path)
    if suffix in (".csv", ".tsv"):
        return Csv(path=path, delimiter="," if suffix == ".csv" else "\t")
    with open_table(path) as file:
        lines = iter(partial(file.readline, MAX_TEXT_BYTES), b"")
        line = next((line for line in lines if not line.isspace()), b"").lstrip()
    if line.startswith(b"["):
        return JsonList(path=path)
    if suffix == ".json" and not _is_json(line):
        raise PrepError(
            f"{path} is neither a JSON list of objects nor JSON lines: write one object a line, or give another source"
        )
    return JsonLines(path=path)


def is_parquet(name: str) -> bool:
    return suffix_of(name) == ".parquet"


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _key(row: Row) -> str:
    """What the row calls itself, "" if nothing."""
    name = None if isinstance(row, SampleError) else pick(row, None, KEY_NAMES)
    value = row[name] if name is not None and not isinstance(row, SampleError) else None
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def media_column(row: dict[str, Any], media_key: str | None) -> str | None:
    """The media column: of those with a usual name rather one that holds bytes than one that holds a path."""
    with_bytes = {name: value for name, value in row.items() if bytes_in(value) is not None}
    return (
        pick(row, media_key, ()) if media_key else pick(with_bytes, None, MEDIA_NAMES) or pick(row, None, MEDIA_NAMES)
    )


def bytes_in(value: object) -> bytes | memoryview | None:
    """The bytes of a column that holds bytes, or Hugging Face's {bytes, path}."""
    if isinstance(value, dict):
        value = value.get("bytes")
    return value if isinstance(value, (bytes, memoryview)) else None


def _media(value: object, key: str, folder: Path, *, max_bytes: int) -> tuple[str, Media]:
    """Name and bytes of the media in a column: bytes, a path, or Hugging Face's {bytes, path}."""
    path = value.get("path") if isinstance(value, dict) else value
    content = bytes_in(value)
    if content is not None:
        check_media_size(len(content), max_bytes)
        media = bytes(content)
        return (path if isinstance(path, str) and path else key + sniffed_suffix(media)), Media.of(media)
    if path is None or path == "":
        raise SampleError("read", "no media in the row (give --image-key)", "the media column is empty")
    if not isinstance(path, str):
        raise SampleError("read", "the media column holds neither a path nor bytes", f"it is {type(path).__name__}")
    return path, read_media(_media_path(path, folder), max_bytes=max_bytes)


def _media_path(path: str, folder: Path) -> Path:
    """Where the media lie. Raises SampleError for a URL and for a path out of the manifest's folder."""
    if URL.match(path):
        remedy = "fetch them first (img2dataset, rclone) or mount the bucket, and give paths"
        raise SampleError("read", "remote media are not read here", f"{path}: {remedy}")
    if "\0" in path:
        raise SampleError("read", "the media path holds a NUL")
    if Path(path).is_absolute():
        return Path(path)
    normal = os.path.normpath(path)
    if normal.split("/", 1)[0] == "..":
        raise SampleError("read", "the media path leaves the manifest's folder", f"{path}; give it as an absolute path")
    return folder / normal
