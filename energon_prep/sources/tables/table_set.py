"""Which tables of a folder or pattern a source takes, and what its user should know of that
choice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from energon_prep.formats import MEDIA_SUFFIXES, role_of, suffix_of
from energon_prep.sources.account import Account
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.tables.line_lists import captions_beside, find_lists
from energon_prep.sources.tables.table_files import table_suffix
from energon_prep.sources.tars.webdataset import expand_braces, is_brace_pattern
from energon_prep.sources.walk import Found, absolute, find

_MOST_TOLD = 8  # groups of tables that are named
_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"[a-z]+")
_SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True, kw_only=True)
class TableSet:
    """The tables below a folder, those of a brace pattern, or the one table that ``root`` is."""

    root: Path
    options: SourceOptions

    @property
    def is_folder(self) -> bool:
        return self.root.is_dir()

    @property
    def folder(self) -> Path:
        """What the tables' paths are relative to."""
        root = absolute(self.root)
        if is_brace_pattern(self.root):
            return next(parent for parent in root.parents if "{" not in str(parent))
        return root if self.is_folder else root.parent

    def paths(self, account: Account) -> Iterator[str]:
        """The tables to take, in order.

        All files of a folder but media are entered into ``account`` as found; what is not given
        here, as passed over.
        """
        if self.is_folder:
            yield from self._in_folder(account)
        elif is_brace_pattern(self.root):
            for path in expand_braces(absolute(self.root)):
                yield str(Path(path).relative_to(self.folder))
        else:
            yield self.root.name

    def media(self) -> Iterator[str]:
        """Images and videos below the folder, whether a row names them or not."""
        if self.is_folder:
            yield from (
                path
                for path, kind in self._found()
                if not kind and suffix_of(path) in MEDIA_SUFFIXES
            )

    def _found(self) -> Iterator[Found]:
        return find(self.root, follow_links=self.options.follow_links)

    def _in_folder(self, account: Account) -> Iterator[str]:
        lists = [file.name for file in find_lists(self.root)]
        captions = captions_beside(self.root / "images.txt") if lists else None
        # Data sets have JSON files of other kinds beside their tables: dataset_info.json,
        # state.json.
        with_json = not lists and not any(
            not kind and _is_sure(path) for path, kind in self._found()
        )
        for path, kind in self._found():
            if not kind and suffix_of(path) in MEDIA_SUFFIXES:
                continue
            account.find()
            if kind:
                account.pass_over(kind, path)
            elif captions is not None and path == captions.name:
                account.add_companion()
            elif (
                path not in lists and not _is_sure(path) and not (with_json and table_suffix(path))
            ):
                account.pass_over(_kind(path), path)
            elif not self.options.takes(path):
                account.pass_over("tables not chosen (--include, --exclude)", path)
            else:
                yield path


@dataclass
class TakenTables:
    """The tables of a source that were taken, grouped by their paths without numbers."""

    files: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, path: str, num_rows: int) -> None:
        group = _NUMBER.sub("*", path)
        self.files[group] += 1
        self.rows[group] += num_rows
        self.examples.setdefault(group, path)

    def tell(self, account: Account, *, is_chosen: bool) -> None:
        """Say what is taken, unless it is one table; and where it may be too much, unless the user
        has chosen.
        """
        if self.files.total() < 2:
            return
        groups = [
            f"{self.examples[group] if num == 1 else group}: {_count(num, 'file')}, "
            f"{_count(self.rows[group], 'row')}"
            for group, num in self.files.items()
        ]
        more = [f"{len(groups) - _MOST_TOLD} further kinds"] if len(groups) > _MOST_TOLD else []
        account.tell("takes " + "; ".join(groups[:_MOST_TOLD] + more))
        if is_chosen:
            return
        by_split: dict[str, str] = {}
        for group in self.files:
            if split := _split_of(group):
                by_split.setdefault(split, group)
        if len(by_split) > 1:
            pattern = by_split.get("train", next(iter(by_split.values())))
            account.tell(
                f"the splits {', '.join(sorted(by_split))} are encoded together: choose with "
                f"--include '{pattern}' or --exclude"
            )
        suffixes = sorted({table_suffix(group) for group in self.files} - {""})
        if len(suffixes) > 1:
            account.tell(
                f"tables of several kinds are taken ({' '.join(suffixes)}): if they hold the "
                f"same rows, choose with --include '*{suffixes[0]}'"
            )


def _is_sure(name: str) -> bool:
    """Whether a file can be nothing but a table."""
    return table_suffix(name) not in ("", ".json")


def _kind(path: str) -> str:
    suffix = suffix_of(path)
    remedy = role_of(suffix).remedy
    return f"{suffix or 'files without a suffix'}" + (f" ({remedy})" if remedy else "")


def _split_of(path: str) -> str | None:
    """The split that a table's name speaks of, or else its folder's."""
    parts = reversed(path.lower().split("/"))
    words = (word for part in parts for word in _WORD.findall(part))
    return next((_SPLIT_NAMES[word] for word in words if word in _SPLIT_NAMES), None)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
