"""Finds what lies below a folder in a fixed order, without holding a list of it."""

from __future__ import annotations

import heapq
import itertools
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from energon_prep.errors import PrepError
from energon_prep.layout import PRIVATE_DIR

HIDDEN = "hidden"
LINK_OUT = "links out of the source (--follow-links)"
LINKED_FOLDER = "links to folders (--follow-links)"
LOOP = "links to a folder that they lie in"
SPECIAL = "pipes, sockets and devices"
WRITTEN = "folders written by energon-prep"

_RUN = 65536  # names sorted at once; more are packed into sorted runs and merged


class Found(NamedTuple):
    """A file below the folder, or something else there."""

    path: str  #: relative, "/" separated
    kind: str = ""  #: of what is no file to read, in plain words: HIDDEN, LINK_OUT, ...


def exists(file: Path) -> bool:
    """False also for a name that no file can have, for which Path.exists raises."""
    return os.path.exists(file)  # noqa: PTH110


def composed(name: str) -> str:
    """``name`` as one text, however its accents were stored: macOS has them apart from their
    letters (NFD).
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def absolute(path: Path) -> Path:
    """``path`` from the root on, with the links of its folder resolved and its own name kept.

    So a manifest that is a link has its media beside the link, and a tar that is a link keeps its
    own name.
    """
    return path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name


@dataclass(frozen=True)
class LinkRule:
    """Where links of a source may lead."""

    folders: tuple[str, ...]  #: real paths
    follow: bool = False  #: anywhere

    @staticmethod
    def of(*roots: Path, follow: bool) -> LinkRule:
        """For a source below ``roots``; from a snapshot of the Hugging Face hub also into its
        blobs.
        """
        real_roots = [Path(os.path.realpath(root)) for root in roots]
        blobs = [folder for root in real_roots if (folder := _hub_blobs(root))]
        return LinkRule(tuple(map(str, (*real_roots, *blobs))), follow)

    def target_outside(self, link: Path) -> str | None:
        """Where ``link``, or a link above it, leads, if it must not be followed."""
        if self.follow:
            return None
        # of a link to itself the link, where Path.resolve would raise
        real = os.path.realpath(link)
        return None if any(_is_within(real, folder) for folder in self.folders) else real


def walk(root: Path, wanted: Callable[[str], bool], *, follow_links: bool = False) -> Iterator[str]:
    """Paths below ``root`` of the files whose name is ``wanted``: relative, "/" separated, in the
    order of ``find``.

    What is no file to read is passed over. Raises PrepError for a folder that cannot be read.
    """
    rules = _Rules(LinkRule.of(root, follow=follow_links), wanted, hidden=False)
    yield from (path for path, kind in _find(root, rules) if not kind)


def find(root: Path, *, follow_links: bool = False) -> Iterator[Found]:
    """Every file below ``root``, and what is there besides, sorted by the code points of the
    composed paths.

    Hidden files, and files in hidden folders, are told apart. Not looked into: links to folders,
    unless ``follow_links``, and folders that this tool wrote, each of which is one thing found.
    Files are neither opened nor stat-ed. Raises PrepError for a folder that cannot be read, because
    its samples would be missing silently.
    """
    return _find(root, _Rules(LinkRule.of(root, follow=follow_links)))


@dataclass(frozen=True)
class _Rules:
    links: LinkRule
    wanted: Callable[[str], bool] | None = None  #: None: every name
    hidden: bool = True  #: whether hidden things are given


class _Folder(NamedTuple):
    """One that is being looked through."""

    prefix: str  #: its path with a "/" behind, "" for the root
    real: str  #: its path without links
    names: Iterator[str]
    is_hidden: bool = False


def _find(root: Path, rules: _Rules) -> Iterator[Found]:
    stack = [_Folder("", os.path.realpath(root), _sorted(_names(root, rules, is_hidden=False)))]
    while stack:
        prefix, real, names, is_hidden = stack[-1]
        entry = next(names, None)
        if entry is None:
            stack.pop()
            continue
        name, slash, kind = entry.partition("/")
        path = prefix + name
        if kind or not slash:
            yield Found(path, HIDDEN if is_hidden else kind)
        elif not is_hidden and (root / path / PRIVATE_DIR).is_dir():
            yield Found(path, WRITTEN)
        else:
            folder = os.path.realpath(root / path) if rules.links.follow else f"{real}/{name}"
            if any(folder == above.real for above in stack):
                yield Found(path, LOOP)
                continue
            hidden = is_hidden or name.startswith(".")
            names = _sorted(_names(root / path, rules, is_hidden=hidden))
            stack.append(_Folder(path + "/", folder, names, hidden))


def _names(folder: Path, rules: _Rules, *, is_hidden: bool) -> Iterator[str]:
    """Names of files; of folders with a "/" behind, which puts them where their contents sort; else
    "NAME/KIND".
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                hidden = is_hidden or entry.name.startswith(".")
                if entry.is_dir(follow_symlinks=False):
                    if rules.hidden or not hidden:
                        yield entry.name + "/"
                elif hidden:
                    if rules.hidden:
                        yield f"{entry.name}/{HIDDEN}"
                elif entry.is_symlink():
                    yield from _link(Path(entry.path), rules)
                elif not entry.is_file(follow_symlinks=False):
                    yield f"{entry.name}/{SPECIAL}"
                elif rules.wanted is None or rules.wanted(entry.name):
                    yield entry.name
    except OSError as error:
        if is_hidden:
            yield f"/{HIDDEN}"  # it is found, and no more can be said
            return
        raise PrepError(
            f"cannot list the folder {folder}: {error.strerror}; make it readable or move it"
        ) from error


def _link(link: Path, rules: _Rules) -> Iterator[str]:
    if os.path.isdir(link):  # noqa: PTH112  Path.is_dir raises for a link to itself
        yield f"{link.name}/" + ("" if rules.links.follow else LINKED_FOLDER)
    elif exists(link) and not os.path.isfile(link):  # noqa: PTH113
        yield f"{link.name}/{SPECIAL}"
    elif rules.wanted is None or rules.wanted(link.name):
        outside = rules.links.target_outside(link) is not None
        yield f"{link.name}/{LINK_OUT}" if outside else link.name


def _sorted(names: Iterable[str]) -> Iterator[str]:
    """Sort ``names`` at about their own size: a folder of ten million files must not become ten
    million objects.
    """
    names = iter(names)
    runs: list[str] = []
    while run := sorted(itertools.islice(names, _RUN), key=_order):
        if len(run) < _RUN and not runs:
            return iter(run)
        runs.append("\0".join(run))  # no file name holds a NUL
    return heapq.merge(*map(_unpacked, runs), key=_order)


def _order(name: str) -> str:
    """The composed name, and behind it the name, so that the order of two that compose alike is
    fixed too.
    """
    return name if name.isascii() else f"{composed(name)}\0{name}"


def _unpacked(run: str) -> Iterator[str]:
    start = 0
    while (end := run.find("\0", start)) >= 0:
        yield run[start:end]
        start = end + 1
    yield run[start:]


def _hub_blobs(root: Path) -> Path | None:
    """Where the files are that the links of a snapshot lead to: REPOSITORY/blobs for
    REPOSITORY/snapshots/REVISION.
    """
    for folder in (root, *root.parents):
        if folder.parent.name == "snapshots":
            blobs = folder.parent.parent / "blobs"
            return blobs if blobs.is_dir() and not blobs.is_symlink() else None
    return None


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
