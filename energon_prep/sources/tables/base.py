"""What all tables have in common: rows that are found again by their place, and how the text of a
file is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

from energon_prep.errors import PrepError, SampleError
from energon_prep.sources.captions import decode_text, parse_object
from energon_prep.sources.media import MAX_TEXT_BYTES, check_text_size
from energon_prep.sources.tables.gzipped import is_gzip, open_gzip

#: A row by column names, or what is wrong with it: given, not raised, because raising would end the
#: rows after it.
Row: TypeAlias = dict[str, Any] | SampleError

_BOM = b"\xef\xbb\xbf"


class Table(Protocol):
    """The rows of one table. All methods raise PrepError if the file is no such table."""

    @property
    def path(self) -> Path: ...

    def columns(self) -> list[str] | None:
        """Names of the columns; None where every row has its own."""
        ...

    def starts(self) -> Iterator[int]:
        """Where each row begins: a byte offset (of the unpacked text) or a row number."""
        ...

    def rows(self, start: int, count: int) -> Iterator[tuple[int, Row]]:
        """``count`` rows, or as many as there are, from the one at ``start`` on, each with its
        place.
        """
        ...

    def place(self, start: int) -> str:
        """The row that begins at ``start``, for messages: "byte 120 of m.jsonl"."""
        ...


def open_text(path: Path, start: int = 0) -> BinaryIO:
    """The text at byte ``start``, at 0 behind its byte order mark; what is packed by gzip is
    unpacked.

    Raises PrepError if the file is missing or UTF-16.
    """
    try:
        file: BinaryIO = open_gzip(path) if is_gzip(path.name) else path.open("rb")
    except OSError as error:
        raise PrepError(f"cannot read the table {path}: {error.strerror}") from error
    head = file.read(len(_BOM))
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        file.close()
        raise PrepError(f"{path} is UTF-16: convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)")
    file.seek(start or (len(_BOM) if head == _BOM else 0))
    return file


def lines_of(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines with their offsets, blank ones too; of one that is too long to be a row, only the
    beginning.
    """
    start = file.tell()
    while line := file.readline(MAX_TEXT_BYTES + 1):
        yield start, line
        start += len(line)
        while not line.endswith(b"\n") and (line := file.readline(MAX_TEXT_BYTES)):
            start += len(line)


def parse_row(text: bytes, encoding: str) -> Row:
    """A JSON object."""
    try:
        check_text_size(len(text), stage="read")
        if encoding == "utf-8":
            return parse_object(text)
        return parse_object(decode_text(text, encoding=encoding, stage="read").encode())
    except SampleError as error:
        detail = f"{error.detail}, in the row that begins with {text[:80]!r}"
        return SampleError(error.stage, error.reason, detail)


def name_values(columns: list[str], values: list[bytes], *, encoding: str, advice: str) -> Row:
    """The values of a line by its columns."""
    if len(values) != len(columns):
        detail = f"{len(values)} instead of {len(columns)}; {advice}"
        return SampleError(
            "read", "a row with another number of values than there are columns", detail
        )
    try:
        return dict(zip(columns, decode_values(values, encoding), strict=True))
    except SampleError as error:
        return error


def name_columns(path: Path, values: list[bytes], encoding: str) -> list[str]:
    """The columns that a header names. Raises PrepError if it cannot be one."""
    try:
        names = [name.strip() for name in decode_values(values, encoding)]
    except SampleError as error:
        raise PrepError(f"the first row of {path} must name its columns: {error}") from error
    if not any(names):
        raise PrepError(f"the first row of {path} must name its columns: it is empty")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise PrepError(f"{path} has two columns named {twice!r}: rename one")
    return names


def decode_values(values: list[bytes], encoding: str) -> list[str]:
    """Raises SampleError for what is not in the ``encoding``."""
    return [decode_text(value, encoding=encoding, stage="read") for value in values]
