"""Tables whose rows name (or hold) the media and their captions."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from energon_prep.errors import PrepError, SampleError
from energon_prep.formats import suffix_of
from energon_prep.samples import Media, PendingSample, RawSample, printable
from energon_prep.sources.account import Account
from energon_prep.sources.base import Entry, Piece
from energon_prep.sources.captions import (
    CAPTION_ADVICE,
    CAPTION_NAMES,
    find_captions,
    jsonable,
    names_in,
    pick,
)
from energon_prep.sources.comparison import FileState, ListedFile
from energon_prep.sources.media import check_media_size, read_media, sniffed_suffix
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.path_set import PathSet
from energon_prep.sources.tables.base import Row, Table
from energon_prep.sources.tables.line_lists import LineLists
from energon_prep.sources.tables.media_paths import MediaPaths
from energon_prep.sources.tables.rows import (
    CHAT_NAMES,
    MEDIA_NAMES,
    RowMedia,
    media_column,
    row_key,
    with_answers,
)
from energon_prep.sources.tables.table_files import open_rows
from energon_prep.sources.tables.table_set import TableSet, TakenTables
from energon_prep.sources.walk import absolute


@dataclass(frozen=True, kw_only=True)
class ManifestSource:
    """Every row is a sample: its media column holds a path or bytes, its caption columns text, the
    rest is metadata.

    Relative paths start from ``options.media_root``, or from the folder of their table, and must
    not leave it.
    """

    #: a table, a folder of tables, or a brace pattern such as
    #: ``/data/train-{00000..00009}.parquet``
    root: Path
    options: SourceOptions = SourceOptions()

    def describe(self) -> dict[str, Any]:
        return {"kind": "manifest", "root": str(absolute(self.root)), **self.options.describe()}

    def list(self, account: Account) -> Iterator[Entry]:
        """One entry per row. Raises PrepError for a table that cannot be read or lacks the columns
        asked for.

        A table of a folder that has no such columns is passed over, if others have them and none
        were asked for.
        """
        tables, taken = TableSet(root=self.root, options=self.options), TakenTables()
        fault = None
        for path in tables.paths(account):
            table = self.open(path)
            missing = self._missing_column(path, table.columns())
            if missing and (
                not tables.is_folder or self.options.media_key or self.options.caption_keys
            ):
                raise PrepError(missing)
            if missing:
                fault = fault or missing
                account.pass_over("tables without media or captions", path)
                continue
            if tables.is_folder:
                account.add_companion()
            (size, mtime_ns), num_before = _state(table), account.num_samples
            for start in table.starts():
                account.find()
                account.add_sample()
                yield Entry(path, start, size, mtime_ns)
            taken.add(path, account.num_samples - num_before)
        if not taken.rows.total():
            raise PrepError(fault or f"no rows in {self.root}")
        taken.tell(account, is_chosen=bool(self.options.include or self.options.exclude))
        self._enter_media(tables, account)

    def read(self, piece: Piece) -> Iterator[PendingSample]:
        """The samples of the rows from ``piece.start`` on. Raises PrepError as ``rows`` does."""
        for start, row in self.rows(piece):
            yield self.pending(piece.path, start, row)

    def rows(self, piece: Piece) -> Iterator[tuple[int, Row]]:
        """The rows of the piece with their places. Raises PrepError if the table has changed, or
        has fewer.
        """
        table, num_read = self.open(piece.path), 0
        file = ListedFile.of(piece, self._folder / piece.path, _state(table))
        for start, row in table.rows(piece.start, piece.count):
            num_read += 1
            yield start, row
        file.check(_state(table))  # it may have been written while it was read
        if num_read < piece.count:
            raise PrepError(
                f"{self._folder / piece.path} has fewer rows than when it was listed: was it "
                "replaced? Restore it"
            )

    def pending(self, path: str, start: int, row: Row) -> PendingSample:
        """The sample of the row at ``start`` of the table at ``path``, which is relative to the
        folder of the root.

        It is called by its own key, or else by its media; a row without media by its place.
        """
        paths, media = self._media_paths(path), self.media_of(row)
        key = source = path
        if isinstance(media, SampleError):
            key = f"{path}:{start}"
        elif media.content is not None:
            key = media.path or f"{path}:{start}"
        else:
            key = source = paths.shown(media.path or "")
        if not isinstance(row, SampleError):
            key = row_key(row) or key
        key, source = printable(key), printable(source)

        def load() -> RawSample:
            try:
                return self._raw(key, source, row, media, paths)
            except SampleError as error:
                place = self.open(path).place(start)
                detail = f"{error.detail}; {place}" if error.detail else place
                raise SampleError(error.stage, error.reason, detail) from error

        return PendingSample(
            key=key, source=source, load=load, state=partial(_media_state, media, paths)
        )

    def media_of(self, row: Row) -> RowMedia | SampleError:
        """The media that a row names or holds, or what is wrong with them."""
        try:
            if isinstance(row, SampleError):
                raise row
            return RowMedia.of(row[media_column(row, self.options.media_key)])
        except SampleError as error:
            return error

    def named_file(self, path: str, row: Row) -> str | None:
        """The media file that a row of the table at ``path`` names, relative to the folder of the
        root.

        None if the row is broken, holds its media itself, or names them outside of that folder.
        """
        media = self.media_of(row)
        if isinstance(media, SampleError) or media.path is None or media.content is not None:
            return None
        try:
            file = self._media_paths(path).find(media.path)
        except SampleError:
            return None
        return str(file.relative_to(self._folder)) if file.is_relative_to(self._folder) else None

    def open(self, path: str) -> Table:
        """The table at ``path``, relative to the folder of the root."""
        encoding = codecs.lookup(self.options.caption_encoding).name
        file = self._folder / path
        return open_rows(
            file, encoding=encoding, media_root=self._media_root, media_key=self.options.media_key
        )

    def _raw(
        self, key: str, source: str, row: Row, media: RowMedia | SampleError, paths: MediaPaths
    ) -> RawSample:
        if isinstance(row, SampleError):
            raise row
        if isinstance(media, SampleError):
            raise media
        options = self.options
        name, content = _read(media, key, paths, max_bytes=options.max_bytes)
        captions = find_captions(
            lambda suffix: None, with_answers(row), options=options, key=key, media_name=name
        )
        taken = media_column(row, options.media_key)
        rest = {
            column: value for column, value in row.items() if column != taken or media.num_left_out
        }
        return RawSample(
            key=key,
            source=source,
            media_name=printable(name),
            media=content,
            captions=captions.texts,
            num_captions_left_out=captions.num_left_out,
            num_media_left_out=media.num_left_out,
            metadata=jsonable(rest),
        )

    def _enter_media(self, tables: TableSet, account: Account) -> None:
        """Enter the media of a folder that no row names: a row and the file that it names are one
        thing found.
        """
        files = tables.media()
        first = next(files, None)
        if first is None:
            return
        named = PathSet()
        for table in tables.paths(Account()):
            for path in self._named_in(table):
                named.add(path)
        for path in chain([first], files):
            if path not in named:
                account.find()
                account.pass_over(f"{suffix_of(path)} that no row names", path)

    def _named_in(self, path: str) -> Iterator[str]:
        """The media that the rows of a table name, relative to the folder of the root."""
        table = self.open(path)
        for start in islice(table.starts(), 1):
            for _, row in table.rows(start, sys.maxsize):
                if named := self.named_file(path, row):
                    yield named

    def _media_paths(self, path: str) -> MediaPaths:
        return _media_paths(self._folder, path, self._media_root, self.options.follow_links)

    def _missing_column(self, path: str, columns: Sequence[str] | None) -> str:
        """What to say of a table that has no column of media or of captions; "" if it has, or if
        every row may.
        """
        if columns is None:
            return ""
        row = dict.fromkeys(columns, "")
        found = f"its columns: {', '.join(columns)}"
        media_key, keys = self.options.media_key, self.options.caption_weights
        if pick(row, media_key, MEDIA_NAMES) is None:
            return f"{path} has no media column {media_key or '(give --image-key)'}; {found}"
        has_captions = (
            keys.keys() & row.keys() if keys else names_in(row, (*CAPTION_NAMES, *CHAT_NAMES))
        )
        if not has_captions and not self.options.has_fallback:
            return f"{path} has no caption column {' '.join(keys) or CAPTION_ADVICE}; {found}"
        return ""

    @cached_property
    def _folder(self) -> Path:
        """What the entries' paths are relative to."""
        return TableSet(root=self.root, options=self.options).folder

    @cached_property
    def _media_root(self) -> Path | None:
        """Raises PrepError if there is no such folder."""
        if self.options.media_root is None:
            return None
        folder = absolute(Path(self.options.media_root).expanduser())
        if not folder.is_dir():
            raise PrepError(
                f"--media-root {folder} is no folder: give the one that the tables' paths "
                "start from"
            )
        return folder


@lru_cache(maxsize=64)
def _media_paths(
    folder: Path, path: str, media_root: Path | None, follow_links: bool
) -> MediaPaths:
    table_dir = (folder / path).parent
    return MediaPaths(
        table_dir=table_dir,
        start=media_root or table_dir,
        fence=media_root or folder,
        follow_links=follow_links,
    )


def _read(media: RowMedia, key: str, paths: MediaPaths, *, max_bytes: int) -> tuple[str, Media]:
    """Name and content of the media."""
    if media.content is not None:
        check_media_size(len(media.content), max_bytes)
        content = bytes(media.content)
        return media.path or key + sniffed_suffix(content), Media.of(content)
    file = paths.locate(media.path or "")
    return file.name, read_media(file, max_bytes=max_bytes, named_below=paths.start)


def _media_state(media: RowMedia | SampleError, paths: MediaPaths) -> bytes:
    """What cannot be looked at, ``load`` judges of."""
    if isinstance(media, SampleError) or media.content is not None:
        return b""
    try:
        info = paths.find(media.path or "").stat()
    except (OSError, SampleError):
        return b"none"
    return f"{info.st_size} {info.st_mtime_ns}".encode()


def _state(table: Table) -> FileState:
    """Bytes of the table's files and the time of the latest. Raises PrepError if one is gone."""
    files = [table.path]
    if isinstance(table, LineLists) and table.captions is not None:
        files.append(table.captions)
    try:
        infos = [file.stat() for file in files]
    except OSError as error:
        raise PrepError(f"cannot read the table {table.path}: {error.strerror}") from error
    sizes, times = zip(*((info.st_size, info.st_mtime_ns) for info in infos), strict=True)
    return FileState(sum(sizes), max(times))
