"""Tables of comma or tab separated values under a line of column names."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from energon_prep.errors import SampleError
from energon_prep.sources.media import MAX_TEXT_BYTES, check_text_size
from energon_prep.sources.tables.base import Row, lines_of, name_columns, name_values, open_text

_CSV_ADVICE = "put quotes around values that hold the delimiter"
_TSV_ADVICE = "a value must not hold a tab"
_QUOTE_ADVICE = "close the quotes of a value, and double those within it"


@dataclass(frozen=True, kw_only=True)
class Csv:
    """Comma separated values, with line breaks where quotes allow them.

    A record over several lines counts only if it is well formed and has as many values as there are
    columns. If not, its first line is a row with a fault and reading goes on at the next line: an
    open quote costs its own line, and not those up to the next quote.
    """

    path: Path
    encoding: str = "utf-8"

    def columns(self) -> list[str]:
        with open_text(self.path) as file:
            _, header = next(_records(file, None), (0, []))
        if isinstance(header, SampleError):
            header = [str(header).encode()]
        return name_columns(self.path, header, self.encoding)

    def starts(self) -> Iterator[int]:
        num_columns = len(self.columns())
        with open_text(self.path) as file:
            yield from (start for start, _ in islice(_records(file, num_columns), 1, None))

    def rows(self, start: int, count: int) -> Iterator[tuple[int, Row]]:
        columns = self.columns()
        with open_text(self.path, start) as file:
            for place, record in islice(_records(file, len(columns)), count):
                if isinstance(record, SampleError):
                    yield place, record
                else:
                    yield (
                        place,
                        name_values(columns, record, encoding=self.encoding, advice=_CSV_ADVICE),
                    )

    def place(self, start: int) -> str:
        return f"byte {start} of {self.path.name}"


@dataclass(frozen=True, kw_only=True)
class Tsv:
    """Tab separated values: a line is a row, and quotes are text."""

    path: Path
    encoding: str = "utf-8"

    def columns(self) -> list[str]:
        with open_text(self.path) as file:
            _, header = next(_filled(file), (0, b""))
        return name_columns(self.path, _split(header), self.encoding)

    def starts(self) -> Iterator[int]:
        self.columns()
        with open_text(self.path) as file:
            yield from (start for start, _ in islice(_filled(file), 1, None))

    def rows(self, start: int, count: int) -> Iterator[tuple[int, Row]]:
        columns = self.columns()
        with open_text(self.path, start) as file:
            for place, line in islice(_filled(file), count):
                yield place, self._row(columns, line)

    def place(self, start: int) -> str:
        return f"byte {start} of {self.path.name}"

    def _row(self, columns: list[str], line: bytes) -> Row:
        try:
            check_text_size(len(line), stage="read")
        except SampleError as error:
            return error
        return name_values(columns, _split(line), encoding=self.encoding, advice=_TSV_ADVICE)


def _filled(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    return ((start, line) for start, line in lines_of(file) if not line.isspace())


def _split(line: bytes) -> list[bytes]:
    return line.rstrip(b"\r\n").split(b"\t")


def _records(
    file: BinaryIO, num_columns: int | None
) -> Iterator[tuple[int, list[bytes] | SampleError]]:
    """Records with their offsets, blank lines left out."""
    # The reader takes exactly the lines of a record. It sees Latin-1, one character a byte,
    # whatever the bytes mean.
    lines = _RecordLines(file)
    reader = csv.reader(lines, strict=True)
    while True:
        lines.begin_record()
        try:
            values = next(reader, None)
            if values is None:
                return
            if len(lines.taken) > 1 and num_columns not in (None, len(values)):
                raise csv.Error(
                    f"{len(lines.taken)} lines with {len(values)} values instead of {num_columns}"
                )
        except csv.Error as error:
            start, line = lines.taken[0]
            detail = f"{error}, in the record that begins with {line[:80]!r}; {_QUOTE_ADVICE}"
            yield start, SampleError("read", "broken CSV row", detail)
            lines.go_back()
            continue
        if len(values) > 1 or any(value.strip() for value in values):
            yield lines.taken[0][0], [value.encode("latin-1") for value in values]


class _RecordLines:
    """The lines that a CSV reader asks for; an iterator that goes on after it raised, as a
    generator would not.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.taken: list[tuple[int, bytes]] = []  #: for the record being read
        self._again: deque[tuple[int, bytes]] = deque()
        self._lines = lines_of(file)
        self._num_bytes = 0

    def begin_record(self) -> None:
        self.taken.clear()
        self._num_bytes = 0

    def go_back(self) -> None:
        """All but the first line of the record are to be read again."""
        self._again.extendleft(reversed(self.taken[1:]))

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._num_bytes > MAX_TEXT_BYTES:  # quotes may hold lines without end
            raise csv.Error(f"a record of more than {MAX_TEXT_BYTES} bytes")
        start, line = self._again.popleft() if self._again else next(self._lines)
        self.taken.append((start, line))
        self._num_bytes += len(line)
        return line.decode("latin-1")
