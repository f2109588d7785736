"""Sorts the files of a folder into samples, what belongs to them, and what is passed over, as they
are found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from energon_prep.samples import printable
from energon_prep.sources.account import Account
from energon_prep.sources.folders.beside import Names, captions_folder
from energon_prep.sources.folders.metadata import MetadataFiles
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.patterns import LEFT_OUT
from energon_prep.sources.walk import Found, composed

UNNAMED = "media without a caption that no row of the metadata file names"

_MAX_PARTS = 64  #: of one sample; more are things of their own, and are not held
_MAX_NAMES = 100  #: of parts, that are counted apart


def _base(stem: str) -> str:
    """The stem up to the first dot of its name."""
    folder, slash, name = stem.rpartition("/")
    return folder + slash + name.partition(".")[0]


class Sorted(NamedTuple):
    """Media that are a sample."""

    path: str
    beside: tuple[str, ...] = ()  #: files that belong to it


@dataclass
class _Group:
    """The files that have one path without suffix: ``cat.jpg``, ``cat.png``, ``cat.txt``."""

    stem: str  #: composed
    media: list[str] = field(default_factory=list)
    named: list[str] = field(default_factory=list)  #: media that a row of a metadata file names
    left_out: list[str] = field(default_factory=list)  #: media
    texts: list[Found] = field(default_factory=list)  #: with the kind that each is without media
    parts: list[Found] = field(default_factory=list)
    #: Media without a caption whose stems go on behind this one: ``cat.mask.png``.
    media_parts: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)  #: captions, JSON and carried parts
    has_caption: bool = False
    has_many: bool = False  #: more of those media than can be parts of one sample

    @property
    def has_media(self) -> bool:
        return bool(self.media or self.named)

    def has(self, files: list[str]) -> bool:
        """Whether one of the ``files`` is what this group is named after: ``cat.jpg`` of
        ``cat.jpg.txt``.
        """
        return any(composed(file) == self.stem for file in files)


class Sorter:
    """Takes what is found below a folder, in the order of ``walk.find``, and gives the paths of the
    media to read, each with those of the files that belong to it.

    Files with one stem follow each other in that order, but for those whose stems go on behind it.
    So a group is open as long as paths begin with its stem and a dot, and only open groups are
    held.
    """

    def __init__(self, options: SourceOptions, metadata: MetadataFiles, account: Account) -> None:
        self._options = options
        self._names = Names.of(options)
        self._metadata = metadata
        self._tables = frozenset(metadata.paths)
        self._account = account
        self._open: dict[str, _Group] = {}  #: by stem; the stem of each begins with those before it
        self._left_out_parts: Counter[str] = Counter()
        self._carried_parts: set[str] = set()
        self._has_advised = False

    def samples(self, found: Iterable[Found]) -> Iterator[Sorted]:
        """The paths of media that are samples. All else is entered into the account."""
        for path, kind in found:
            if path in self._tables:
                self._account.find()
                self._account.add_companion()
                continue
            is_named = bool(self._tables) and path in self._metadata.named
            if not is_named:  # of those the row is what was found
                self._account.find()
            if not kind:
                yield from self._sort(path, is_named=is_named)
            elif not is_named:
                self._account.pass_over(kind, path)
        yield from self._close_all_but("")
        self._account.tell_parts(self._left_out_parts)

    def missing_parts(self) -> list[str]:
        """The parts that are to be carried and that no sample has, after ``samples``."""
        return [name for name in self._options.carry_parts if name not in self._carried_parts]

    def _sort(self, path: str, *, is_named: bool) -> Iterator[Sorted]:
        role, stem, kind = self._names.role(path)
        if role == "other" and not is_named:
            self._pass_over(Found(path, kind))
        if role == "other":
            return
        yield from self._close_all_but(composed(path))
        group = self._group(composed(stem))
        if is_named:
            group.named.append(path)
        elif role != "media":
            (group.texts if role == "text" else group.parts).append(Found(path, kind))
        elif self._options.takes(path):
            group.media.append(path)
        else:
            self._account.pass_over(LEFT_OUT, path)
            group.left_out.append(path)

    def _group(self, stem: str) -> _Group:
        """The open group of that stem; opened with that of what its name has before the first
        dot.
        """
        for wanted in (_base(stem), stem):
            if wanted not in self._open:
                self._open[wanted] = _Group(wanted)
        return self._open[stem]

    def _close_all_but(self, path: str) -> Iterator[Sorted]:
        """Close the groups that ``path`` and what follows it cannot belong to."""
        while self._open and not path.startswith(next(reversed(self._open)) + "."):
            _, group = self._open.popitem()
            self._sort_texts(group)
            self._sort_parts(group)
            yield from self._samples_of(group)

    def _sort_texts(self, group: _Group) -> None:
        above = self._open[next(reversed(self._open))] if self._open else _Group("")
        if group.has_media:
            group.has_caption |= bool(group.texts)
            group.beside += [text.path for text in group.texts]
            self._account.add_companion(len(group.texts))
        elif group.has([*above.media, *above.named]):
            above.has_caption = True
            above.beside += [text.path for text in group.texts]
            self._account.add_companion(len(group.texts))
        else:
            is_of_left_out = bool(group.left_out) or group.has(above.left_out)
            for text in group.texts:
                self._pass_over(text, is_left_out=is_of_left_out)
                self._advise(text.path)

    def _sort_parts(self, group: _Group) -> None:
        """Enter the parts of a group, or keep them for the group with what its name has before the
        first dot.
        """
        base = self._open.get(_base(group.stem))
        if group.has_media:
            for part in group.parts:
                self._add_part(group, part.path)
        elif base is not None and len(base.parts) + len(group.parts) <= _MAX_PARTS:
            base.parts += group.parts
        else:
            for part in group.parts:
                self._pass_over(part, is_left_out=bool(group.left_out))

    def _samples_of(self, group: _Group) -> Iterator[Sorted]:
        """The samples of a group that is closed, if they are not kept as parts for the group
        above.
        """
        if group.has_caption and not group.has_many:
            for path in group.media_parts:
                self._add_part(group, path)
        else:
            yield from map(Sorted, group.media_parts)
        if not group.media:
            return
        base = self._open.get(_base(group.stem))
        if not group.has_caption and self._metadata.covers(group.stem):
            for path in group.media:
                self._account.pass_over(UNNAMED, path)
        elif (
            group.has_caption
            or base is None
            or base.has_many
            or self._options.captions_dir is not None
        ):
            yield from (Sorted(path, tuple(group.beside)) for path in group.media)
        elif len(base.media_parts) + len(group.media) > _MAX_PARTS:
            base.has_many = True
            yield from map(Sorted, (*base.media_parts, *group.media))
            base.media_parts.clear()
        else:
            base.media_parts += group.media

    def _add_part(self, group: _Group, path: str) -> None:
        self._account.add_companion()
        name = composed(path)[len(group.stem) + 1 :]
        if name in self._options.carry_parts:
            self._carried_parts.add(name)
            group.beside.append(path)
        else:
            counted = name in self._left_out_parts or len(self._left_out_parts) < _MAX_NAMES
            self._left_out_parts[name if counted else "others"] += 1

    def _pass_over(self, file: Found, *, is_left_out: bool = False) -> None:
        kept = not is_left_out and self._options.takes(file.path)
        self._account.pass_over(file.kind if kept else LEFT_OUT, file.path)

    def _advise(self, text: str) -> None:
        """Of the first text without media in a folder of captions, say how its media may be
        found.
        """
        if not self._has_advised and (folder := captions_folder(text)):
            self._has_advised = True
            self._account.tell(
                f"the texts in {printable(folder)} have no media beside them: is it the folder of "
                f"captions? Give --captions-dir {printable(folder)}"
            )
