"""Tables of one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from energon_prep.sources.tables.base import Row, lines_of, open_text, parse_row


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
