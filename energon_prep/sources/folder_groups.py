"""Sorts the files of a folder into samples, what belongs to them, and what is passed over, as they are found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from energon_prep.sources.account import Account
from energon_prep.sources.beside import Names, captions_folder
from energon_prep.sources.metadata import MetadataFiles
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.patterns import LEFT_OUT, is_chosen
from energon_prep.sources.walk import Found, composed, printable, suffix_of

UNNAMED = "media without a caption that no row of the metadata file names"
PARTS = "{} and such, which have no caption, are parts of the samples that they are named after, and no samples"

_MAX_PARTS = 64  #: of one sample; more are samples of their own, and are not held


def _base(stem: str) -> str:
    """The stem up to the first dot of its name."""
    folder, slash, name = stem.rpartition("/")
    return folder + slash + name.partition(".")[0]


@dataclass
class _Group:
    """The files that have one path without suffix: ``cat.jpg``, ``cat.png``, ``cat.txt``."""

    stem: str  #: composed
    media: list[str] = field(default_factory=list)
    named: list[str] = field(default_factory=list)  #: media that a row of a metadata file names
    left_out: list[str] = field(default_factory=list)  #: media
    texts: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)  #: media without a caption whose stems go on: ``cat.mask.png``
    has_caption: bool = False
    has_many: bool = False  #: more parts than can be of one sample

    def has(self, files: list[str]) -> bool:
        """Whether one of the ``files`` is what this group is named after: ``cat.jpg`` of ``cat.jpg.txt``."""
        return any(composed(file) == self.stem for file in files)


class Sorter:
    """Takes what is found below a folder, in the order of ``walk.find``, and gives the paths of the media to read.

    Files with one stem follow each other in that order, but for those whose stems go on behind it. So a group is
    open as long as paths begin with its stem and a dot, and only open groups are held.
    """

    def __init__(self, options: SourceOptions, metadata: MetadataFiles, account: Account) -> None:
        self._options = options
        self._names = Names.of(options)
        self._metadata = metadata
        self._tables = frozenset(metadata.paths)
        self._account = account
        self._open: dict[str, _Group] = {}  #: by stem; the stem of each begins with those before it
        self._has_advised = False

    def samples(self, found: Iterable[Found]) -> Iterator[str]:
        """The paths of media that are samples. All else is entered into the account."""
        for path, kind in found:
            if path in self._tables:
                self._account.find()
                self._account.add_companion()
            elif kind:
                self._account.find()
                self._account.pass_over(kind, path)
            else:
                yield from self._sort(path)
        yield from self._close_all_but("")

    def _sort(self, path: str) -> Iterator[str]:
        role, stem = self._names.role(path)
        if role not in ("media", "text"):
            self._account.find()
            self._account.pass_over(role if self._is_chosen(path) else LEFT_OUT, path)
            return
        yield from self._close_all_but(composed(path))
        group = self._group(composed(stem))
        if role == "media" and self._tables and path in self._metadata.named:  # the row is what was found
            group.named.append(path)
            return
        self._account.find()
        if role == "text":
            group.texts.append(path)
        elif self._is_chosen(path):
            group.media.append(path)
        else:
            self._account.pass_over(LEFT_OUT, path)
            group.left_out.append(path)

    def _group(self, stem: str) -> _Group:
        """The open group of that stem; opened with that of what its name has before the first dot."""
        for wanted in (_base(stem), stem):
            if wanted not in self._open:
                self._open[wanted] = _Group(wanted)
        return self._open[stem]

    def _close_all_but(self, path: str) -> Iterator[str]:
        """Close the groups that ``path`` and what follows it cannot belong to."""
        while self._open and not path.startswith(next(reversed(self._open)) + "."):
            _, group = self._open.popitem()
            self._sort_texts(group)
            yield from self._media_of(group)

    def _sort_texts(self, group: _Group) -> None:
        above = self._open[next(reversed(self._open))] if self._open else _Group("")
        if group.media or group.named:
            group.has_caption |= bool(group.texts)
            self._account.add_companion(len(group.texts))
        elif group.has([*above.media, *above.named]):
            above.has_caption = True
            self._account.add_companion(len(group.texts))
        else:
            is_of_left_out = group.left_out or group.has(above.left_out)
            for text in group.texts:
                without = f"{suffix_of(text)} without media"
                kept = self._is_chosen(text) and not is_of_left_out
                self._account.pass_over(without if kept else LEFT_OUT, text)
                self._advise(text)

    def _advise(self, text: str) -> None:
        """Of the first text without media in a folder of captions, say how its media may be found."""
        if not self._has_advised and (folder := captions_folder(text)):
            self._has_advised = True
            self._account.tell(
                f"the texts in {printable(folder)} have no media beside them: is it the folder of "
                f"captions? Give --captions-dir {printable(folder)}"
            )

    def _media_of(self, group: _Group) -> Iterator[str]:
        """The samples of a group that is closed, if they are not kept for the group above."""
        if group.parts and group.has_caption and not group.has_many:
            self._account.add_companion(len(group.parts))
            self._account.tell(PARTS.format(group.parts[0]))
        else:
            yield from group.parts
        if not group.media:
            return
        base = self._open.get(_base(group.stem))
        if not group.has_caption and self._metadata.covers(group.stem):
            for path in group.media:
                self._account.pass_over(UNNAMED, path)
        elif group.has_caption or base is None or base.has_many or self._options.captions_dir is not None:
            yield from group.media
        elif len(base.parts) + len(group.media) > _MAX_PARTS:
            base.has_many = True
            yield from (*base.parts, *group.media)
            base.parts.clear()
        else:
            base.parts += group.media

    def _is_chosen(self, path: str) -> bool:
        return is_chosen(path, include=self._options.include, exclude=self._options.exclude)
