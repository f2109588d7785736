"""Station 1, sources: the rows of a JSON-lines, JSON or CSV manifest, found again by their byte offset."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

from energon_prep.errors import PrepError, SampleError
from energon_prep.sources.captions import decode_text, parse_object
from energon_prep.sources.media import MAX_TEXT_BYTES, check_text_size

#: A row by column names, or what is wrong with it: given, not raised, because raising would end the rows after it.
Row: TypeAlias = dict[str, Any] | SampleError

_BOM = b"\xef\xbb\xbf"
_CHUNK = 2**20
_NOT_SPACE = re.compile(r"[^ \t\r\n]")


class Table(Protocol):
    """The rows of one manifest file. All methods raise PrepError if the file is no such table."""

    def columns(self) -> list[str] | None:
        """Names of the columns; None where every row has its own."""
        ...

    def starts(self) -> Iterator[int]:
        """Where each row begins: a byte offset or a row number."""
        ...

    def rows(self, start: int, count: int) -> Iterator[tuple[int, Row]]:
        """``count`` rows, or as many as there are, from the one at ``start`` on, each with its place."""
        ...


@dataclass(frozen=True, kw_only=True)
class JsonLines:
    """One JSON object a line. Blank lines are no rows; a broken line is a row with a fault."""

    path: Path

    def columns(self) -> None:
        return None

    def starts(self) -> Iterator[int]:
        with open_table(self.path) as file:
            for start, line in _lines(file):
                if not line.isspace():
                    yield start

    def rows(self, start: int, count: int) -> Iterator[tuple[int, Row]]:
        with open_table(self.path, start) as file:
            lines = ((place, line) for place, line in _lines(file) if not line.isspace())
            for place, line in islice(lines, count):
                yield place, _parsed(line)


@dataclass(frozen=True, kw_only=True)
class JsonList:
    """A JSON list of objects, read element by element."""

    path: Path

    def columns(self) -> None:
        return None

    def starts(self) -> Iterator[int]:
        with open_table(self.path) as file:
            elements = _JsonElements(file, self.path)
            elements.enter()
            yield from (start for start, _ in elements)

    def rows(self, start: int, count: int) -> Iterator[tuple[int, Row]]:
        with open_table(self.path, start) as file:
            for place, element in islice(_JsonElements(file, self.path), count):
                yield place, _parsed(element)


@dataclass(frozen=True, kw_only=True)
class Csv:
    """Comma or tab separated values under a line of column names, with line breaks where quotes allow them."""

    path: Path
    delimiter: str = ","

    def columns(self) -> list[str]:
        with open_table(self.path) as file:
            _, header = next(self._records(file), (0, None))
        names = header if isinstance(header, SampleError) else _transcoded(header or [])
        if isinstance(names, SampleError) or not names:
            raise PrepError(f"the first row of {self.path} must name its columns: {names or 'it is empty'}")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise PrepError(f"{self.path} has two columns named {twice!r}: rename one")
        return names

    def starts(self) -> Iterator[int]:
        with open_table(self.path) as file:
            yield from (start for start, _ in islice(self._records(file), 1, None))

    def rows(self, start: int, count: int) -> Iterator[tuple[int, Row]]:
        columns = self.columns()
        with open_table(self.path, start) as file:
            for place, record in islice(self._records(file), count):
                values = record if isinstance(record, SampleError) else _transcoded(record)
                yield place, values if isinstance(values, SampleError) else _named(columns, values)

    def _records(self, file: BinaryIO) -> Iterator[tuple[int, list[str] | SampleError]]:
        """Records with their offsets. Their text is Latin-1 still: one character a byte, whatever the bytes mean."""
        # The reader takes exactly the lines of a record, so that what was taken tells where the next one begins.
        texts = _RecordLines(file)
        reader = csv.reader(texts, delimiter=self.delimiter)
        while True:
            place = texts.begin_record()
            record: list[str] | SampleError | None
            try:
                record = next(reader, None)
            except csv.Error as error:
                record = SampleError("read", "broken CSV row", str(error))
            if record is None:
                return
            if record:  # a blank line is an empty record
                yield place, record


class _RecordLines:
    """The lines that a CSV reader asks for; an iterator that goes on after it raised, as a generator would not."""

    def __init__(self, file: BinaryIO) -> None:
        self._end = self._begin = file.tell()
        self._lines = _lines(file)

    def begin_record(self) -> int:
        self._begin = self._end
        return self._begin

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._end - self._begin > MAX_TEXT_BYTES:  # quotes may hold lines without end
            raise csv.Error(f"a record of more than {MAX_TEXT_BYTES} bytes")
        start, line = next(self._lines)
        self._end = start + len(line)
        return line.decode("latin-1")


def open_table(path: Path, start: int = 0) -> BinaryIO:
    """The file at byte ``start``, at 0 behind its byte order mark. Raises PrepError if it is missing or UTF-16."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise PrepError(f"cannot read the manifest {path}: {error.strerror}") from error
    head = file.read(len(_BOM))
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        file.close()
        raise PrepError(f"{path} is UTF-16: convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)")
    file.seek(start or (len(_BOM) if head == _BOM else 0))
    return file


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines with their offsets; of one that is too long to be a row, only the beginning."""
    start = file.tell()
    while line := file.readline(MAX_TEXT_BYTES + 1):
        yield start, line
        start += len(line)
        while not line.endswith(b"\n") and (line := file.readline(MAX_TEXT_BYTES)):
            start += len(line)


def _parsed(text: bytes) -> Row:
    try:
        check_text_size(len(text), stage="read")
        return parse_object(text)
    except SampleError as error:
        return error


def _transcoded(record: list[str]) -> list[str] | SampleError:
    """The record's bytes, held as Latin-1, read as the UTF-8 that they are."""
    try:
        return [value if value.isascii() else decode_text(value.encode("latin-1"), stage="read") for value in record]
    except SampleError as error:
        return error


def _named(columns: list[str], values: list[str]) -> Row:
    if len(values) != len(columns):
        detail = f"{len(values)} instead of {len(columns)}; put quotes around values that hold the delimiter"
        return SampleError("read", "a row with another number of values than there are columns", detail)
    return dict(zip(columns, values, strict=True))


class _JsonElements:
    """The elements of a JSON list from where ``file`` stands, with their byte offsets.

    The text is held as Latin-1, one character a byte: enough to find where an element ends, which is all it does.
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
            f"{self._path} is not a JSON list of objects: {what} at byte {place}. Mend it, or use JSON lines"
        )
