"""A folder of images and videos, each with its caption and metadata in files beside it or in a
table.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from energon_prep.errors import PrepError, SampleError
from energon_prep.samples import Media, PendingSample, RawSample, printable
from energon_prep.sources.account import Account
from energon_prep.sources.base import Entry, Piece
from energon_prep.sources.captions import find_captions, parse_metadata
from energon_prep.sources.comparison import UNSEEN, FileState, refuse
from energon_prep.sources.folders.beside import Names, Place, Places, is_metadata_name
from energon_prep.sources.folders.listing import Listing
from energon_prep.sources.media import is_missing, read_media, read_text_file, require_contents
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.patterns import LEFT_OUT
from energon_prep.sources.tables.manifest import ManifestSource
from energon_prep.sources.walk import LinkRule, absolute, exists


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """Every media file below ``root`` is a sample; ``cats/1.jpg`` goes with ``cats/1.txt``,
    ``.caption`` and ``.json``.

    So is every row of a metadata file, in place of the media that it names. Media of the same stem
    are samples of their own that share caption and key. Links are not followed out of ``root``,
    unless the options say so.
    """

    root: Path
    options: SourceOptions = SourceOptions()

    def describe(self) -> dict[str, Any]:
        return {"kind": "folder", "root": str(absolute(self.root)), **self.options.describe()}

    def list(self, account: Account) -> Iterator[Entry]:
        """One entry per row of metadata files, then one per media file. Raises PrepError if there
        are none.
        """
        listing = Listing(
            root=self.root, options=self.options, names=self._names, places=self._places
        )
        yield from listing.entries(account)

    def read(self, piece: Piece) -> Iterator[PendingSample]:
        """The samples of rows from ``piece.start`` on, or the one of a media file, again for each
        of its repeats.
        """
        if is_metadata_name(piece.path):
            rows = ManifestSource(root=self.root, options=self.options)
            for start, row in rows.rows(piece):
                pending = rows.pending(piece.path, start, row)
                load = partial(self._load_row, pending, rows.named_file(piece.path, row))
                yield dataclasses.replace(pending, load=load)
            return
        stem, source = self._names.stem(piece.path), printable(piece.path)
        key = printable(stem)
        for repeat in range(piece.start, piece.start + piece.count):
            yield PendingSample(
                key=key, source=source, load=partial(self._load, piece, stem, repeat)
            )

    def _load_row(self, pending: PendingSample, path: str | None) -> RawSample:
        """The sample of a row of a metadata file that names the media at ``path``, if that fits the
        patterns.
        """
        if path is not None and not self.options.takes(path):
            raise SampleError("filter", LEFT_OUT, printable(path))
        return pending.load()

    def _load(self, piece: Piece, stem: str, repeat: int) -> RawSample:
        path, key, opened = piece.path, printable(stem), _Opened(self.root, piece)
        file = self.root / path
        self._check_link(file, stage="read")
        # The media come last: if all went away, what lies beside them would seem to be missing.
        try:
            places = self._places.metadata_files(path, stem)
            data = self._read_first(places, opened, stage="read")
            values = {} if data is None else parse_metadata(data)
            captions = find_captions(
                partial(self._text, path, stem, opened),
                values,
                options=self.options,
                key=f"{key}:{repeat}" if repeat else key,
                media_name=file.name,
                advice=partial(self._places.advice, path),
            )
            parts = dict(self._parts(stem, opened))
        except SampleError:
            self._read_media(path, file, opened)
            opened.require_all()
            raise
        media = self._read_media(path, file, opened)
        opened.require_all()
        return RawSample(
            key=key,
            source=printable(path),
            media_name=printable(file.name),
            media=media,
            captions=captions.texts,
            num_captions_left_out=captions.num_left_out,
            metadata=values,
            parts=parts,
            is_touched=opened.is_touched,
        )

    def _read_media(self, name: str, file: Path, opened: _Opened) -> Media:
        return read_media(
            file, max_bytes=self.options.max_bytes, seen=partial(opened.compare, name)
        )

    def _text(self, path: str, stem: str, opened: _Opened, suffix: str) -> bytes | None:
        """The caption of the media in a file of that suffix, None if there is no such file."""
        places = self._places.text_files(path, stem, suffix)
        data = self._read_first(places, opened, stage="caption")
        if data is None and self._places.captions_dir is not None:  # it may be a mount of its own
            require_contents(self._places.captions_dir)
        return data

    def _parts(self, stem: str, opened: _Opened) -> Iterator[tuple[str, bytes]]:
        """Of the parts that are to be carried those that lie beside the media: ``cat.mask.png``."""
        for part in self.options.carry_parts:
            name = f"{stem}.{part}"
            file = self.root / name
            self._check_link(file, stage="read")
            if exists(file):
                yield part, self._read_media(name, file, opened).read()
            else:
                opened.missing(name)

    def _read_first(self, places: Iterable[Place], opened: _Opened, *, stage: str) -> bytes | None:
        """The first of the files that holds something, or else one that is there, or else None."""
        empty = None
        for name, path in places:
            data = None
            if not is_missing(path):
                file = Path(path)
                self._check_link(file, stage=stage)
                seen = partial(opened.compare, name)
                data = read_text_file(file, stage=stage, seen=seen)
            if data is None:
                opened.missing(name)
            if data and not data.isspace():
                return data
            empty = data if empty is None else empty
        return empty

    def _check_link(self, file: Path, *, stage: str) -> None:
        if not os.path.islink(file):  # noqa: PTH114  Path.is_symlink raises for a name too long
            return
        target = self._links.target_outside(file)
        if target is not None:
            reason = "a link leads out of the source (give --follow-links)"
            raise SampleError(stage, reason, f"{printable(str(file))} leads to {printable(target)}")

    @cached_property
    def _names(self) -> Names:
        return Names.of(self.options)

    @cached_property
    def _places(self) -> Places:
        return Places.of(self.root, self.options)

    @cached_property
    def _links(self) -> LinkRule:
        captions_dir = self._places.captions_dir
        roots = (self.root,) if captions_dir is None else (self.root, captions_dir)
        return LinkRule.of(*roots, follow=self.options.follow_links)


class _Opened:
    """Of the files that are opened for one sample, by their names in the source, whether they are
    what they were when they were listed.

    Another size stops the run: what is finished was made of what was there. Another time alone does
    not, since a file that was copied or touched has the same content; ``is_touched`` then tells.
    """

    def __init__(self, root: Path, piece: Piece) -> None:
        self._root = root
        #: files that are not in it are not compared
        self._listed = {file.path: FileState(file.size, file.mtime_ns) for file in piece.beside}
        if piece.size is not None:
            self._listed[piece.path] = FileState(piece.size, piece.mtime_ns)
        self._missing: str | None = None
        self.is_touched = False

    def compare(self, name: str, info: os.stat_result) -> None:
        """Raises PrepError if the file has another size."""
        listed = self._listed.get(name, UNSEEN)
        if listed == UNSEEN:
            return
        if listed.size != info.st_size:
            refuse(self._root / name, listed, FileState.of(info))
        if listed.mtime_ns not in (None, info.st_mtime_ns):
            self.is_touched = True

    def missing(self, name: str) -> None:
        """There is no such file, which may be no wonder."""
        if self._missing is None and self._listed.get(name, UNSEEN) != UNSEEN:
            self._missing = name

    def require_all(self) -> None:
        """Raises PrepError if a file that was listed is missing."""
        if self._missing is not None:
            raise PrepError(
                f"{printable(str(self._root / self._missing))} is gone, and was there when the "
                "source was listed: that is no fault of the sample. Bring it back and run the same "
                "command again, or encode what is there now by --update; what is finished is kept"
            )
