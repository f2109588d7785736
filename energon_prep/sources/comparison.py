"""Holds the files that are opened against their listing: a source may change under a run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, NoReturn

from energon_prep.errors import PrepError
from energon_prep.samples import printable
from energon_prep.sources.base import Piece


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


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of many samples, which are found at their places as long as it is not written
    again.
    """

    path: Path
    state: FileState

    @staticmethod
    def of(piece: Piece, path: Path, now: FileState) -> ListedFile:
        """The file of a piece, which lies at ``path``. Raises PrepError if it is not as it was
        listed.
        """
        listed = now if piece.size is None else FileState(piece.size, piece.mtime_ns)
        file = ListedFile(path, listed)
        file.check(now)
        return file

    def check(self, now: FileState) -> None:
        """Raises PrepError if the file has another size or time."""
        if self.state.size != now.size or self.state.has_other_time(now):
            refuse(self.path, self.state, now)


def refuse(path: Path, listed: FileState, now: FileState) -> NoReturn:
    """Stop the run for a file that has another size, or else another time."""
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
