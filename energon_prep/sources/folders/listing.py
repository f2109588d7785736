"""What a folder holds: the media with what belongs to them, and the rows of metadata files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from energon_prep.errors import PrepError, SampleError
from energon_prep.formats import MEDIA_SUFFIXES
from energon_prep.sources.account import Account
from energon_prep.sources.base import Beside, Entry
from energon_prep.sources.captions import TEXT_SUFFIXES
from energon_prep.sources.folders.beside import Names, Places
from energon_prep.sources.folders.groups import Sorter
from energon_prep.sources.folders.metadata import find_metadata
from energon_prep.sources.media import faults_of
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.path_set import PathSet
from energon_prep.sources.patterns import LEFT_OUT
from energon_prep.sources.walk import Found, composed, find

_REPEATS = re.compile(r"(?:^|/)(\d+)_[^/]*/[^/]+$")
_REPEATS_OPTION = "--folder-repeats"
_MOST_REPEATS = 1000


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Of a folder source, see ``FolderSource``."""

    root: Path
    options: SourceOptions
    names: Names
    places: Places

    def entries(self, account: Account) -> Iterator[Entry]:
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
                for stem in self.places.caption_stems(path, self.names.stem(path)):
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
        if self.places.captions_dir is None:
            return
        stem = self.names.stem(path)
        for suffix in (*TEXT_SUFFIXES, *self.options.caption_weights):
            for name, file in self.places.text_files(path, stem, suffix):
                with suppress(OSError):
                    info = os.stat(file)  # noqa: PTH116
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
            role, stem, name_kind = self.names.role(name)
            account.find()
            if not kind and role == "text" and composed(stem) in captioned:
                account.add_companion()
            elif not kind and not self.options.takes(path):
                account.pass_over(LEFT_OUT, path)
            else:
                where = " in the folder of captions" if role == "media" else ""
                account.pass_over(kind or f"{name_kind}{where}", path)

    @cached_property
    def _captions_prefix(self) -> str | None:
        """Path of the folder of captions with a "/" behind, None if there is none below the
        root.
        """
        folder = self.places.captions_dir
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
