"""What every source can do, and the piece, the unit that the plan hands to a worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from energon_prep.samples import PendingSample
from energon_prep.sources.account import Account


class Beside(NamedTuple):
    """A file that belongs to the media of an entry: a caption, a JSON, a further part."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one sample lies. Cheap: a listing of ten million of these streams through the plan."""

    path: str  #: relative to the source's root, "/" separated
    start: int  #: a file of samples: byte offset or row number; a file that is the sample: 0
    size: int  #: bytes of the file (not of the sample), so that a changed source shows
    mtime_ns: int | None = None  #: of the file; None where the place keeps no times
    beside: tuple[Beside, ...] = ()  #: what the listing knows of it


@dataclass(frozen=True, slots=True)
class Piece:
    """``count`` consecutive samples of one file, from ``start`` on: neighbouring entries,
    joined, with what they know of their files.
    """

    path: str
    start: int
    count: int
    size: int | None = None  #: None: nothing is known of the files, and they are not compared
    mtime_ns: int | None = None
    beside: tuple[Beside, ...] = ()


class Source(Protocol):
    """A place raw samples come from."""

    def describe(self) -> dict[str, Any]:
        """What identifies the source in run.json (kind, root, options): JSON-able, equal for equal
        sources.
        """
        ...

    def list(self, account: Account) -> Iterator[Entry]:
        """Every sample in a fixed order, without opening any media. Raises PrepError if there can
        be none.

        All that is found on the way is entered into ``account``, which is complete when the listing
        has ended.
        """
        ...

    def read(self, piece: Piece) -> Iterator[PendingSample]:
        """Exactly ``piece.count`` pending samples. What is wrong with one sample is raised by its
        ``load``.
        """
        ...
