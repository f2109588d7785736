"""Tables of one JSON object a row: JSON lines, and a list read element by element."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from energon_prep.errors import PrepError
from energon_prep.sources.media import MAX_TEXT_BYTES
from energon_prep.sources.tables.base import Row, lines_of, open_text, parse_row

_CHUNK = 2**20
_NOT_SPACE = re.compile(r"[^ \t\r\n]")


@dataclass(frozen=True, kw_only=True)
class JsonLines:
    """One JSON object a line. Blank lines are no rows; a broken line is a row with a fault."""

    path: Path
    encoding: str = "utf-8"

    def columns(self) -> None:
        return None

    def starts(self) -> Iterator[int]:
        with open_text(self.path) as file:
            for start, line in lines_of(file):
                if not line.isspace():
                    yield start

    def rows(self, start: int, count: int) -> Iterator[tuple[int, Row]]:
        with open_text(self.path, start) as file:
            lines = ((place, line) for place, line in lines_of(file) if not line.isspace())
            for place, line in islice(lines, count):
                yield place, parse_row(line, self.encoding)

    def place(self, start: int) -> str:
        return f"byte {start} of {self.path.name}"


@dataclass(frozen=True, kw_only=True)
class JsonList:
    """A JSON list of objects, read element by element."""

    path: Path
    encoding: str = "utf-8"

    def columns(self) -> None:
        return None

    def starts(self) -> Iterator[int]:
        with open_text(self.path) as file:
            elements = _JsonElements(file, self.path)
            elements.enter()
            yield from (start for start, _ in elements)

    def rows(self, start: int, count: int) -> Iterator[tuple[int, Row]]:
        with open_text(self.path, start) as file:
            for place, element in islice(_JsonElements(file, self.path), count):
                yield place, parse_row(element, self.encoding)

    def place(self, start: int) -> str:
        return f"byte {start} of {self.path.name}"


class _JsonElements:
    """The elements of a JSON list from where ``file`` stands, with their byte offsets.

    The text is held as Latin-1, one character a byte: enough to find where an element ends, which
    is all it does.
    """

    _decoder = json.JSONDecoder(parse_int=str, strict=False)

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._base = file.tell()  # byte offset of the text's first character
        self._text = ""
        self._pos = 0

    def enter(self) -> None:
        """Go into the list; stop at its first element."""
        if self._next_char() != "[":
            raise self._error("expected [")
        self._pos += 1

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        if self._next_char() == "]":
            return
        while True:
            self._next_char()
            yield self._element()
            separator = self._next_char()
            if separator == "]":
                return
            if separator != ",":
                raise self._error("expected , or ]")
            self._pos += 1

    def _element(self) -> tuple[int, bytes]:
        while True:
            try:
                _, end = self._decoder.raw_decode(self._text, self._pos)
            except (ValueError, RecursionError) as error:
                if len(self._text) - self._pos > MAX_TEXT_BYTES or not self._fill():
                    raise self._error(f"expected an object: {error}") from error
            else:
                if end < len(self._text) or not self._fill():  # a number at the end may go on
                    break
        place, element = self._base + self._pos, self._text[self._pos : end].encode("latin-1")
        self._pos = end
        return place, element

    def _next_char(self) -> str:
        """Go to the next character that is no white space; "" at the end of the file."""
        while True:
            if found := _NOT_SPACE.search(self._text, self._pos):
                self._pos = found.start()
                return found[0]
            self._pos = len(self._text)
            if not self._fill():
                return ""

    def _fill(self) -> bool:
        chunk = self._file.read(_CHUNK)
        self._base += self._pos
        self._text, self._pos = self._text[self._pos :] + chunk.decode("latin-1"), 0
        return bool(chunk)

    def _error(self, what: str) -> PrepError:
        place = self._base + self._pos
        return PrepError(
            f"{self._path} is not a JSON list of objects: {what} at byte {place}. Mend it, or "
            "use JSON lines"
        )
