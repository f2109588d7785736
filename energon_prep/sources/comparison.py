"""Holds the files that are opened against their listing: a source may change under a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, NoReturn

from energon_prep.errors import PrepError
from energon_prep.samples import printable


class FileState(NamedTuple):
    """By what a changed file shows without being read."""

    size: int  #: bytes
    mtime_ns: int | None  #: None where the place keeps no times

    @staticmethod
    def of(info: os.stat_result) -> FileState:
        return FileState(info.st_size, info.st_mtime_ns)

    def has_other_time(self, other: FileState) -> bool:
        return None not in (self.mtime_ns, other.mtime_ns) and self.mtime_ns != other.mtime_ns


#: Of a file that could not be looked at, and so cannot be compared.
UNSEEN = FileState(0, 0)


class Comparison:
    """Of the files that are opened for one sample with what they were when they were listed.

    Another size stops the run: what is finished was made of what was there. Another time alone does
    not, since a file that was copied or touched has the same content; ``is_touched`` then tells.
    """

    def __init__(self, listed: Mapping[str, FileState]) -> None:
        #: by path; files that are not in it are not compared
        self._listed = {os.path.normpath(path): state for path, state in listed.items()}
        self._missing: str | None = None
        self.is_touched = False

    def seen(self, path: Path, info: os.stat_result) -> None:
        """Raises PrepError if the file has another size."""
        listed, now = self._of(path), FileState.of(info)
        if listed is None:
            return
        if listed.size != now.size:
            _refuse(path, listed, now)
        self.is_touched = self.is_touched or listed.has_other_time(now)

    def missing(self, path: str) -> None:
        """There is no such file, which may be no wonder."""
        if self._missing is None and self._of(path) is not None:
            self._missing = path

    def require_all(self) -> None:
        """Raises PrepError if a file that was listed is missing."""
        if self._missing is not None:
            raise PrepError(
                f"{printable(self._missing)} is gone, and was there when the source was "
                "listed: that is no fault of the sample. Bring it back and run the same command "
                "again, or encode what is there now by --update; what is finished is kept"
            )

    def _of(self, path: Path | str) -> FileState | None:
        listed = self._listed.get(os.path.normpath(path))
        return None if listed == UNSEEN else listed


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of many samples, which are found at their places as long as it is not written
    again.
    """

    path: Path
    state: FileState

    def check(self, now: FileState) -> None:
        """Raises PrepError if the file has another size or time."""
        if self.state.size != now.size or self.state.has_other_time(now):
            _refuse(self.path, self.state, now)


def _refuse(path: Path, listed: FileState, now: FileState) -> NoReturn:
    where = printable(str(path))
    if listed.size != now.size:
        raise PrepError(
            f"{where} has changed since the source was listed: it had {listed.size} bytes, and "
            f"has {now.size}. Nothing of it is written off: restore it and run the same command "
            "again, or encode what is there now by --update; what is finished is kept"
        )
    raise PrepError(
        f"{where} was written again since the source was listed: it was of "
        f"{_time(listed.mtime_ns)}, and is of {_time(now.mtime_ns)}. Nothing of it is written off: "
        "run the same command again, which compares contents; what is finished is kept"
    )


def _time(mtime_ns: int | None) -> str:
    try:
        return datetime.fromtimestamp((mtime_ns or 0) / 1e9, UTC).isoformat(" ", "milliseconds")
    except (ValueError, OverflowError, OSError):
        return f"{mtime_ns} ns"
