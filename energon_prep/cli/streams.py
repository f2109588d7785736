"""Standard output and standard error that cannot stop a run: closed, full, or read by nobody."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

#: C0 but for tabs and ends of lines, delete, C1; what turns the direction of writing around.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def never_fail() -> None:
    """Open what of the three standard streams is closed, and let writing to them never raise.

    A closed one must be opened before anything else is: its number would be given to the next file
    that is, a shard for instance, and what libraries print would go into that.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdout = _Lasting(sys.stdout or open(1, "w", closefd=False), 1)  # noqa: SIM115
    sys.stderr = _Lasting(sys.stderr or open(2, "w", closefd=False), 2)  # noqa: SIM115


def visible(text: str) -> str:
    """``text`` with control characters written out: in a name that somebody else chose they could
    rewrite the terminal.
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


class VisibleFormatter(logging.Formatter):
    """One line, or several, of visible characters."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        level = record.levelname.lower()  # "warning: ", as all that is told here begins
        return super().formatMessage(logging.makeLogRecord({**vars(record), "levelname": level}))


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.warnings.append(record.getMessage())


@contextmanager
def kept_warnings() -> Iterator[list[str]]:
    """What is logged as a warning meanwhile, for reports for machines."""
    kept, root = _Kept(), logging.getLogger()
    root.addHandler(kept)
    try:
        yield kept.warnings
    finally:
        root.removeHandler(kept)


class _Lasting:
    """A text stream that goes nowhere once it cannot be written to."""

    def __init__(self, stream: IO[str], number: int) -> None:
        self._stream = stream
        self._number = number

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._number)  # what is buffered goes there
        if self._number == 1:
            sys.stderr.write(f"warning: standard output is lost ({error.strerror})\n")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
