"""A folder of images and videos, each with its caption and metadata in files beside it or in a
table.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from energon_prep.errors import PrepError, SampleError
from energon_prep.formats import MEDIA_SUFFIXES
from energon_prep.samples import Media, PendingSample, RawSample, printable
from energon_prep.sources.account import Account
from energon_prep.sources.base import Beside, Entry, Piece
from energon_prep.sources.captions import TEXT_SUFFIXES, find_captions, parse_metadata
from energon_prep.sources.comparison import Comparison, FileState
from energon_prep.sources.folders.beside import Names, Places, is_metadata_name
from energon_prep.sources.folders.groups import Sorter
from energon_prep.sources.folders.metadata import find_metadata
from energon_prep.sources.media import (
    faults_of,
    is_missing,
    read_media,
    read_text_file,
    require_contents,
)
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.path_set import PathSet
from energon_prep.sources.patterns import LEFT_OUT, is_chosen
from energon_prep.sources.tables.manifest import ManifestSource
from energon_prep.sources.walk import Found, LinkRule, absolute, composed, exists, find

_REPEATS = re.compile(r"(?:^|/)(\d+)_[^/]*/[^/]+$")
_REPEATS_OPTION = "--folder-repeats"
_MOST_REPEATS = 1000


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
        metadata = find_metadata(self.root, self.options)
        for path in metadata.paths:
            state = _state(self.root, path)
            for start in metadata.starts(path):
                account.find()
                account.add_sample()
                yield Entry(path, start, *state)
        sorter, captioned = Sorter(self.options, metadata, account), PathSet()
        for path, beside in sorter.samples(self._found()):
            yield from self._entries(path, beside, account)
            if self._captions_prefix is not None:
                for stem in self._places.caption_stems(path, self._stem(path)):
                    captioned.add(composed(stem))
        if self._captions_prefix is not None:
            self._sort_captions(captioned, account)
        if not account.num_samples:
            raise PrepError(f"nothing to encode in {self.root}{_passed_over(account)}")
        for name in sorter.missing_parts():
            raise PrepError(
                f"--carry {name}: no media have a part of that name beside them: cat.{name} "
                "of cat.jpg"
            )

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
        stem, source = self._stem(piece.path), printable(piece.path)
        key = printable(stem)
        for repeat in range(piece.start, piece.start + piece.count):
            yield PendingSample(
                key=key, source=source, load=partial(self._load, piece, stem, repeat)
            )

    def _found(self) -> Iterator[Found]:
        """What is below the root, but for the folder of captions, which is sorted when all media
        are known.
        """
        prefix = self._captions_prefix
        for found in find(self.root, follow_links=self.options.follow_links):
            if prefix is None or not f"{found.path}/".startswith(prefix):
                yield found

    def _entries(self, path: str, beside: tuple[str, ...], account: Account) -> Iterator[Entry]:
        repeats, (size, mtime_ns) = self._repeats(path, account), _state(self.root, path)
        if not repeats:
            account.pass_over(f"media in folders that are taken 0 times ({_REPEATS_OPTION})", path)
            return
        files = tuple(self._beside(path, beside))
        account.find(repeats - 1)  # the file itself was found before
        for repeat in range(repeats):
            account.add_sample()
            yield Entry(path, repeat, size, mtime_ns, files)

    def _beside(self, path: str, beside: tuple[str, ...]) -> Iterator[Beside]:
        """The files that belong to the media, as they are now; in a folder of captions all that
        may.
        """
        for name in beside:
            yield Beside(name, *_state(self.root, name))
        if self._places.captions_dir is None:
            return
        stem = self._stem(path)
        for suffix in (*TEXT_SUFFIXES, *self.options.caption_weights):
            for file in self._places.text_files(path, stem, suffix):
                with suppress(OSError):
                    info = os.stat(file)  # noqa: PTH116
                    name = os.path.relpath(file, self.root)
                    yield Beside(name, info.st_size, info.st_mtime_ns)

    def _repeats(self, path: str, account: Account) -> int:
        """How often to take the media: those in the folder ``10_cats`` ten times, if that was asked
        for.
        """
        match = _REPEATS.search(path)
        number = int(match[1]) if match else 1
        if self.options.folder_repeats:
            if number > _MOST_REPEATS:
                advice = f"rename it, or leave out {_REPEATS_OPTION}"
                raise PrepError(f"the folder of {path} would be taken {number} times: {advice}")
            return number
        if 1 < number <= _MOST_REPEATS:
            account.tell(
                f"folders named as 10_cats are taken once; {_REPEATS_OPTION} takes them as "
                "often as they say"
            )
        return 1

    def _sort_captions(self, captioned: PathSet, account: Account) -> None:
        """Enter the folder of captions into the account; ``captioned``: what its files can be
        called.
        """
        assert self._captions_prefix is not None
        for name, kind in find(
            self.root / self._captions_prefix, follow_links=self.options.follow_links
        ):
            path = self._captions_prefix + name
            role, stem, name_kind = self._names.role(name)
            account.find()
            if not kind and role == "text" and composed(stem) in captioned:
                account.add_companion()
            elif not kind and not self._is_chosen(path):
                account.pass_over(LEFT_OUT, path)
            else:
                where = " in the folder of captions" if role == "media" else ""
                account.pass_over(kind or f"{name_kind}{where}", path)

    def _load_row(self, pending: PendingSample, path: str | None) -> RawSample:
        """The sample of a row of a metadata file that names the media at ``path``, if that fits the
        patterns.
        """
        if path is not None and not self._is_chosen(path):
            raise SampleError("filter", LEFT_OUT, printable(path))
        return pending.load()

    def _load(self, piece: Piece, stem: str, repeat: int) -> RawSample:
        path, key, opened = piece.path, printable(stem), self._comparison(piece)
        file = self.root / path
        self._check_link(file, stage="read")
        # The media come last: if all went away, what lies beside them would seem to be missing.
        try:
            files = self._places.metadata_files(path, stem)
            data = self._read_first(files, opened, stage="read")
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
            self._read_main(file, opened)
            raise
        media = self._read_main(file, opened)
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

    def _read_main(self, file: Path, opened: Comparison) -> Media:
        media = read_media(file, max_bytes=self.options.max_bytes, seen=opened.seen)
        opened.require_all()
        return media

    def _comparison(self, piece: Piece) -> Comparison:
        """With what the listing knew of the files of the piece."""
        listed = {f"{self.root}/{name}": FileState(*state) for name, *state in piece.beside}
        if piece.size is not None:
            listed[f"{self.root}/{piece.path}"] = FileState(piece.size, piece.mtime_ns)
        return Comparison(listed)

    def _text(self, path: str, stem: str, opened: Comparison, suffix: str) -> bytes | None:
        """The caption of the media in a file of that suffix, None if there is no such file."""
        files = self._places.text_files(path, stem, suffix)
        data = self._read_first(files, opened, stage="caption")
        if data is None and self._places.captions_dir is not None:  # it may be a mount of its own
            require_contents(self._places.captions_dir)
        return data

    def _parts(self, stem: str, opened: Comparison) -> Iterator[tuple[str, bytes]]:
        """Of the parts that are to be carried those that lie beside the media: ``cat.mask.png``."""
        for name in self.options.carry_parts:
            file = self.root / f"{stem}.{name}"
            self._check_link(file, stage="read")
            if exists(file):
                media = read_media(file, max_bytes=self.options.max_bytes, seen=opened.seen)
                yield name, media.read()
            else:
                opened.missing(str(file))

    def _read_first(self, names: Iterable[str], opened: Comparison, *, stage: str) -> bytes | None:
        """The first of the files that holds something, or else one that is there, or else None."""
        empty = None
        for name in names:
            data = None
            if not is_missing(name):
                file = Path(name)
                self._check_link(file, stage=stage)
                data = read_text_file(file, stage=stage, seen=opened.seen)
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

    def _stem(self, path: str) -> str:
        return self._names.role(path).stem or path.rpartition(".")[0]

    def _is_chosen(self, path: str) -> bool:
        return is_chosen(path, include=self.options.include, exclude=self.options.exclude)

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

    @cached_property
    def _captions_prefix(self) -> str | None:
        """Path of the folder of captions with a "/" behind, None if there is none below the
        root.
        """
        folder = self._places.captions_dir
        return (
            f"{folder.relative_to(self.root)}/"
            if folder and folder.is_relative_to(self.root)
            else None
        )


def _passed_over(account: Account) -> str:
    """What an empty source holds instead."""
    kinds = [f"{number} {kind}" for kind, number in account.passed_over.most_common(5)]
    found = f"; it holds {', '.join(kinds)}" if kinds else ""
    read = (
        f"images and videos named {' '.join(MEDIA_SUFFIXES)}; tars; tables such as "
        "metadata.jsonl and *.parquet"
    )
    return f"{found}. What is read: {read}"


def _state(root: Path, path: str) -> tuple[int, int]:
    """Bytes of the file and its time, 0 for what its own ``load`` will find wrong, as a link that
    leads nowhere. Raises PrepError for what is no fault of its own.
    """
    try:
        info = os.stat(f"{root}/{path}")  # noqa: PTH116  without a Path for every file listed
        return info.st_size, info.st_mtime_ns
    except OSError:
        with suppress(SampleError), faults_of(root / path, stage="read"):
            raise
        return 0, 0
