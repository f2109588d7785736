"""Station 1, sources: finds the files below a folder in a fixed order, without holding a list of them."""

from __future__ import annotations

import heapq
import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from energon_prep.errors import PrepError
from energon_prep.storage import PRIVATE_DIR

logger = logging.getLogger(__name__)

_RUN = 65536  # names sorted at once; more are packed into sorted runs and merged


def printable(text: str) -> str:
    """``text`` with what UTF-8 cannot hold, such as a byte of a foreign file name, written as ``\\udce9``."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def suffix_of(name: str) -> str:
    """The last suffix in lower case with its dot, "" if there is none: ``a.b.JPG`` -> ``.jpg``."""
    return PurePosixPath(name).suffix.lower()


def walk(root: Path, wanted: Callable[[str], bool]) -> Iterator[str]:
    """Paths below ``root`` of the files whose name is ``wanted``: relative, "/" separated, sorted by code point.

    Passed over: hidden files and folders, symlinked folders (they may lead out of the root or back into it) and
    folders that this tool wrote. Only regular files and symlinks to files are given, without opening or stat-ing
    them. Raises PrepError for a folder that cannot be read, because its samples would be missing silently.
    """
    open_folders = [("", _sorted(_names(root, wanted, is_root=True)))]
    while open_folders:
        prefix, names = open_folders[-1]
        name = next(names, None)
        if name is None:
            open_folders.pop()
        elif name.endswith("/"):
            folder = prefix + name
            open_folders.append((folder, _sorted(_names(root / folder, wanted, is_root=False))))
        else:
            yield prefix + name


def _names(folder: Path, wanted: Callable[[str], bool], *, is_root: bool) -> Iterator[str]:
    """Names of wanted files, and of folders with a "/" behind, which puts them where their contents sort."""
    try:
        if not is_root and (folder / PRIVATE_DIR).is_dir():
            logger.info("%s was written by energon-prep: passed over", folder)
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield name + "/"
                elif entry.is_symlink() and Path(entry.path).is_dir():  # False for a link to itself
                    logger.warning("%s is a link to a folder and is not followed: give that folder itself", entry.path)
                elif wanted(name) and (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                    yield name
    except OSError as error:
        raise PrepError(f"cannot list the folder {folder}: {error.strerror}; make it readable or move it") from error


def _sorted(names: Iterable[str]) -> Iterator[str]:
    """Sort ``names`` at about their own size: a folder of ten million files must not become ten million objects."""
    names = iter(names)
    runs: list[str] = []
    while run := sorted(itertools.islice(names, _RUN)):
        if len(run) < _RUN and not runs:
            return iter(run)
        runs.append("\0".join(run))  # no file name holds a NUL
    return heapq.merge(*map(_unpacked, runs))


def _unpacked(run: str) -> Iterator[str]:
    start = 0
    while (end := run.find("\0", start)) >= 0:
        yield run[start:end]
        start = end + 1
    yield run[start:]
