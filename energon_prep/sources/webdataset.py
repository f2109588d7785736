"""Station 1, sources: WebDataset tars as img2dataset writes them, jpg/png/webp + txt + json, read without unpacking."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from braceexpand import braceexpand

from energon_prep.errors import PrepError, SampleError
from energon_prep.formats import MEDIA_SUFFIXES
from energon_prep.samples import Media, PendingSample, RawSample
from energon_prep.sources.account import Account
from energon_prep.sources.base import Entry, Piece
from energon_prep.sources.captions import find_captions, parse_object
from energon_prep.sources.links import absolute
from energon_prep.sources.media import (
    check_media_size,
    check_text_size,
    faults_of,
    try_again,
)
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.tar_headers import Damage, Member, scan_members
from energon_prep.sources.walk import printable, walk

_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")  #: all but the first are refused
_HIDDEN = re.compile(r"(^|/)\.(?!\.?(/|$))")  # a part that begins with a dot, and is not "." or ".."
_COMPRESSED_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


class _Group(NamedTuple):
    """Consecutive members of one key: a sample. Or the place where the tar is damaged."""

    key: str
    start: int
    members: dict[str, Member]  #: by suffix, in lower case and without its dot
    damage: Damage | None = None


@dataclass(frozen=True, kw_only=True)
class WebDatasetSource:
    """Consecutive members with the same name but for the last suffix are a sample: ``a/1.jpg``, ``a/1.txt``.

    So keys may hold dots, unlike in Energon. Hidden members are passed over, as Energon does.
    """

    root: Path  #: a tar, a folder of tars, or a brace pattern such as ``/data/{00000..00099}.tar``
    options: SourceOptions = SourceOptions()

    def describe(self) -> dict[str, Any]:
        return {"kind": "webdataset", "root": str(absolute(self.root)), **self.options.describe()}

    def list(self, account: Account) -> Iterator[Entry]:
        """One entry per sample and per damaged place. Raises PrepError for a tar that is missing or compressed."""
        entry = None
        for path in self._tar_paths():
            file = self._folder() / path
            size = _checked_size(file)
            for group in _groups(file, 0):
                entry = Entry(path, group.start, size)
                account.find(len(group.members) or 1)
                account.add_companion(max(len(group.members) - 1, 0))
                account.add_sample()
                yield entry
        if entry is None:
            raise PrepError(f"no samples in {self.root}: looked into files named *.tar")

    def read(self, piece: Piece) -> Iterator[PendingSample]:
        """The samples from the one at byte ``piece.start`` on. Raises PrepError if the tar has fewer by now."""
        file = self._folder() / piece.path
        _checked_size(file)
        source = printable(piece.path)
        num_read = 0
        for group in islice(_groups(file, piece.start), piece.count):
            num_read += 1
            yield PendingSample(key=group.key, source=source, load=partial(self._load, file, source, group))
        if num_read < piece.count:
            raise PrepError(f"{file} has fewer samples than when it was listed: was it replaced? Restore it")

    def _folder(self) -> Path:
        """What the entries' paths are relative to."""
        if is_brace_pattern(self.root):
            parents = (parent for parent in self.root.parents if "{" not in str(parent))
            return next(parents)
        return self.root if self.root.is_dir() else self.root.parent

    def _tar_paths(self) -> Iterator[str]:
        if is_brace_pattern(self.root):
            folder = self._folder()
            for expanded in expand_braces(self.root):
                yield str(Path(expanded).relative_to(folder))
        elif self.root.is_dir():
            yield from walk(self.root, is_tar, follow_links=self.options.follow_links)
        else:
            yield self.root.name

    def _load(self, tar: Path, source: str, group: _Group) -> RawSample:
        if group.damage is not None:
            where = f"{source}, byte {group.damage.start}: {group.damage.what}; fetch or pack this tar again"
            raise SampleError("read", "the tar is cut or damaged here; what follows in it is lost", where)
        media = _media_member(group, self.options.media_key)
        json_member = group.members.get("json")
        metadata = {} if json_member is None else parse_object(_read_member(tar, json_member, stage="read"))

        def read_text(suffix: str) -> bytes | None:
            member = group.members.get(suffix.lower())
            return None if member is None else _read_member(tar, member, stage="caption")

        captions = find_captions(read_text, metadata, options=self.options, key=group.key, media_name=media.name)
        content = _read_member(tar, media, stage="read", max_bytes=self.options.max_bytes)
        return RawSample(
            key=group.key,
            source=source,
            media_name=Path(media.name).name,
            media=Media.of(content),
            captions=captions.texts,
            num_captions_left_out=captions.num_left_out,
            metadata=metadata,
        )


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


def _groups(tar: Path, start: int) -> Iterator[_Group]:
    """The samples of a tar from the one at byte ``start`` on, then its damage, if any."""
    key, members = "", dict[str, Member]()
    for item in scan_members(tar, start):
        named = None if item.name is None else _key_and_suffix(item.name)
        if isinstance(item, Damage):
            if members and named and named[0] == key:  # the cut sample is the damaged place
                yield _Group(key, _start(members), {}, item)
                return
            if members:
                yield _Group(key, _start(members), members)
            yield _Group(named[0] if named else f"byte {item.start}", item.start, {}, item)
            return
        if named is None or item.kind == "directory":
            continue
        if members and (named[0] != key or named[1] in members):  # the same member again: a second sample of that key
            yield _Group(key, _start(members), members)
            members = {}
        key = named[0]
        members[named[1]] = item
    if members:
        yield _Group(key, _start(members), members)


def _start(members: dict[str, Member]) -> int:
    return next(iter(members.values())).start


def _key_and_suffix(name: str) -> tuple[str, str] | None:
    """``a/b.c.JPG`` -> ``("a/b.c", "jpg")``; None for hidden names and names without suffix (``__index__``)."""
    stem, _, suffix = name.removeprefix("./").rpartition(".")
    if not stem or not suffix or "/" in suffix or _HIDDEN.search(name):
        return None
    return stem, suffix.lower()


def _media_member(group: _Group, media_key: str | None) -> Member:
    wanted = MEDIA_SUFFIXES if media_key is None else (media_key.lower(),)
    for suffix in wanted:
        member = group.members.get(suffix.lstrip("."))
        if member is not None:
            return member
    raise SampleError("read", "no media in the sample", f"its members: {' '.join(group.members)}")


def _read_member(tar: Path, member: Member, *, stage: str, max_bytes: int | None = None) -> bytes:
    """The content of a regular member, of at most ``max_bytes`` of media, or of text where that is None."""
    if member.kind != "file":
        raise SampleError(stage, f"a {member.kind} in a tar is not followed", f"the member {member.name}")
    if max_bytes is None:
        check_text_size(member.size, stage=stage)
    else:
        check_media_size(member.size, max_bytes)

    def read() -> bytes:
        with tar.open("rb") as file:
            file.seek(member.data)
            return file.read(member.size)

    with faults_of(tar, stage=stage):
        content = try_again(read)
    if len(content) < member.size:
        raise SampleError(stage, "the tar was cut since it was listed", f"within the member {member.name}")
    return content


def _checked_size(tar: Path) -> int:
    """Bytes of the tar. Raises PrepError if it is missing or compressed."""
    try:
        with tar.open("rb") as file:
            magic = file.read(6)
        size = tar.stat().st_size
    except OSError as error:
        raise PrepError(f"cannot read {tar}: {error.strerror}") from error
    if magic.startswith(_COMPRESSED_MAGIC):
        raise PrepError(
            f"{tar} is compressed, and Energon cannot load such tars either: unpack it (gunzip, unzstd) first"
        )
    return size
