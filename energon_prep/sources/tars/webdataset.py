"""WebDataset tars as img2dataset writes them, jpg/png/webp + txt + json, read without unpacking."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from braceexpand import braceexpand

from energon_prep.errors import PrepError, SampleError
from energon_prep.samples import PendingSample, RawSample, printable
from energon_prep.sources.account import Account
from energon_prep.sources.base import Entry, Piece
from energon_prep.sources.captions import (
    METADATA_SUFFIX,
    TEXT_SUFFIXES,
    find_captions,
    parse_metadata,
)
from energon_prep.sources.comparison import FileState, ListedFile
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.patterns import LEFT_OUT
from energon_prep.sources.tars.account import TarAccount, kind_of_loose
from energon_prep.sources.tars.groups import (
    MOST_DECIDING,
    Group,
    Naming,
    group_members,
    is_ambiguous,
    main_part,
    matches,
    media_parts,
    naming_for,
    suffix_of_part,
    text_parts,
)
from energon_prep.sources.tars.img2dataset import FailedRows, tar_beside
from energon_prep.sources.tars.members import read_media, read_part, read_text
from energon_prep.sources.walk import absolute, find
from energon_prep.tar_headers import BLOCK, Damage, Member, scan_members

#: all but the first are refused
_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_COMPRESSED_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


@dataclass(frozen=True, kw_only=True)
class WebDatasetSource:
    """Neighbouring members of one key are a sample: ``a/1.jpg``, ``a/1.txt``.

    A name is cut into key and part at the last dot, so that keys may hold dots (``v1.5_a.jpg``), or
    at the first, as Energon does (``s0.jpg``, ``s0.mask.png``): in each tar where that makes more
    of its groups one sample, with one main medium and a caption. The first MOST_DECIDING members
    decide, by their names. An entry's ``start`` is the byte offset of the sample's first header,
    which is even, and one more where the tar's names are cut at the first dot.
    """

    root: Path  #: a tar, a folder of tars, or a brace pattern such as ``/data/{00000..00099}.tar``
    options: SourceOptions = SourceOptions()

    def describe(self) -> dict[str, Any]:
        return {"kind": "webdataset", "root": str(absolute(self.root)), **self.options.describe()}

    def list(self, account: Account) -> Iterator[Entry]:
        """One entry per sample. Raises PrepError for a tar that is missing or compressed, and for
        no samples at all.

        A tar that is damaged is in the account; what precedes the damage is listed.
        """
        self._refuse_other_options()
        inside, failed = TarAccount(account, self.options), FailedRows()
        for path in self._tar_paths(account):
            file = self._folder() / path
            size, mtime_ns = _checked_state(file)
            inside.begin(path)
            naming, items = self._open(file)
            for item in items:
                if isinstance(item, Damage):
                    inside.add_damage(item)
                elif isinstance(item, Member):
                    inside.add_member(item)
                elif inside.add_group(item):
                    yield Entry(path, item.start + naming.first_dot, size, mtime_ns)
            inside.end()
            failed.add(file, account)
        inside.tell()
        failed.tell(account)
        if not account.num_samples:
            raise PrepError(
                f"no samples in {self.root}: looked into files named *.tar{_what_else(account)}"
            )

    def read(self, piece: Piece) -> Iterator[PendingSample]:
        """The samples from the one at ``piece.start`` on. Raises PrepError if the tar has changed,
        or has fewer.
        """
        file = self._folder() / piece.path
        tar = ListedFile.of(piece, file, _checked_state(file))
        source = printable(piece.path)
        first_dot = bool(piece.start % BLOCK)
        naming = Naming.of(self._asked, first_dot=first_dot)
        items = group_members(scan_members(file, piece.start - first_dot), naming)
        groups = (item for item in items if isinstance(item, Group) and not item.is_cut)
        media_key = self.options.media_key
        found = (
            (group, main)
            for group in groups
            if (main := main_part(tuple(group.parts), media_key)) is not None
        )
        num_read = 0
        for group, main in islice(found, piece.count):
            num_read += 1
            load = partial(self._load, tar, source, group, main)
            yield PendingSample(key=group.key, source=source, load=load)
        if num_read < piece.count:
            tar.check(_checked_state(file))
            raise PrepError(
                f"{file} has fewer samples than when it was listed: was it replaced? Restore it"
            )

    def _open(self, file: Path) -> tuple[Naming, Iterator[Group | Member | Damage]]:
        """How names are cut in a tar, and what is in it."""
        items = scan_members(file)
        first = list(islice(items, MOST_DECIDING))
        names = (
            item.name for item in first if isinstance(item, Member) and item.kind != "directory"
        )
        naming = naming_for(names, asked=self._asked, media_key=self.options.media_key)
        return naming, group_members(itertools.chain(first, items), naming)

    @property
    def _asked(self) -> tuple[str, ...]:
        """The parts that the options name, and the text files that may lie beside such media."""
        options = self.options
        media = options.media_key
        beside = () if media is None else tuple(f"{media}.{suffix}" for suffix in TEXT_SUFFIXES)
        return (
            *options.caption_weights,
            *options.carry_parts,
            *(() if media is None else (media,)),
            *beside,
        )

    def _folder(self) -> Path:
        """What the entries' paths are relative to."""
        if is_brace_pattern(self.root):
            parents = (parent for parent in self.root.parents if "{" not in str(parent))
            return next(parents)
        return self.root if self.root.is_dir() else self.root.parent

    def _tar_paths(self, account: Account) -> Iterator[str]:
        """The tars that are taken; what else lies in a folder of them goes into the account."""
        if is_brace_pattern(self.root):
            folder = self._folder()
            paths = iter(
                [str(Path(expanded).relative_to(folder)) for expanded in expand_braces(self.root)]
            )
        elif self.root.is_dir():
            paths = self._tars_in_folder(account)
        else:
            paths = iter((self.root.name,))
        for path in paths:
            if self.options.takes(path):
                yield path
            else:
                account.find()
                account.pass_over(LEFT_OUT, printable(path))

    def _tars_in_folder(self, account: Account) -> Iterator[str]:
        for path, kind in find(self.root, follow_links=self.options.follow_links):
            if not kind and is_tar(path):
                yield path
                continue
            account.find()
            if not kind and tar_beside(self.root / path) is not None:
                account.add_companion()
            else:
                account.pass_over(kind or kind_of_loose(path), printable(path))

    def _load(self, tar: ListedFile, source: str, group: Group, main: str) -> RawSample:
        options = self.options
        if is_ambiguous(group.parts, main, options.media_key):
            raise SampleError(
                "read",
                "several media in the sample (give --image-key)",
                " ".join(media_parts(group.parts)),
            )

        def text(suffix: str, stage: str = "caption") -> bytes | None:
            """The first that holds something, or else one that is there, or else None."""
            empty = None
            for part in text_parts(group.parts, suffix, main):
                data = read_text(tar, group.parts[part], stage=stage)
                if data and not data.isspace():
                    return data
                empty = data
            return empty

        data = text(METADATA_SUFFIX, "read")
        metadata = {} if data is None else parse_metadata(data)

        media = group.parts[main]
        captions = find_captions(
            text,
            metadata,
            options=options,
            key=group.key,
            media_name=f"{group.key}.{suffix_of_part(main)}",
            advice=lambda: f"its parts: {' '.join(group.parts)}; ",
        )
        further = {
            name: next(iter(matches(group.parts, name)), None) for name in options.carry_parts
        }
        return RawSample(
            key=group.key,
            source=source,
            media_name=PurePosixPath(media.name).name,
            media=read_media(tar, media, max_bytes=options.max_bytes),
            captions=captions.texts,
            num_captions_left_out=captions.num_left_out,
            metadata=metadata,
            parts={
                name: read_part(tar, group.parts[part], max_bytes=options.max_bytes)
                for name, part in further.items()
                if part is not None
            },
        )

    def _refuse_other_options(self) -> None:
        options = self.options
        others = {
            "--captions-dir": options.captions_dir,
            "--media-root": options.media_root,
            "--folder-repeats": options.folder_repeats,
        }
        for option, value in others.items():
            if value:
                raise PrepError(f"{option} means nothing where the source is tars: leave it out")


def is_brace_pattern(path: Path) -> bool:
    return "{" in str(path) and not path.exists()


def expand_braces(pattern: Path) -> list[str]:
    """The paths that a brace pattern stands for, each once. Raises PrepError."""
    try:
        return list(dict.fromkeys(braceexpand(str(pattern))))
    except ValueError as error:
        raise PrepError(f"the brace pattern {pattern} cannot be expanded: {error}") from error


def is_tar(name: str) -> bool:
    """Whether the name is that of a tar, compressed ones included."""
    return name.lower().endswith(_TAR_SUFFIXES)


def _checked_state(tar: Path) -> FileState:
    """Raises PrepError if the tar is missing or compressed."""
    try:
        with tar.open("rb") as file:
            magic = file.read(6)
            info = os.fstat(file.fileno())
    except OSError as error:
        raise PrepError(f"cannot read {tar}: {error.strerror}") from error
    if magic.startswith(_COMPRESSED_MAGIC):
        raise PrepError(
            f"{tar} is compressed, so no sample can be read at its place, and Energon cannot "
            "load such tars either: unpack it (gunzip, unzstd) first, or leave it out "
            f"(--exclude '{tar.name}')"
        )
    return FileState.of(info)


def _what_else(account: Account) -> str:
    """What there was in the place of samples, for a message."""
    kinds = [f"{number} {kind}" for kind, number in account.passed_over.most_common(5)]
    damaged = [f"{tar}: {what}" for tar, what in itertools.islice(account.damaged.items(), 1)]
    return "".join(
        f"; {words}"
        for words in (f"passed over: {', '.join(kinds)}" if kinds else "", *damaged)
        if words
    )
