"""Tables that are two text files: a media path a line, and its caption on the same line of another
file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, zip_longest
from pathlib import Path

from energon_prep.errors import PrepError
from energon_prep.sources.tables.base import Row, name_values, open_text
from energon_prep.sources.tables.json_document import MAX_DOCUMENT_BYTES

MEDIA_LISTS = ("images.txt", "videos.txt")
CAPTION_LISTS = ("prompts.txt", "prompt.txt", "captions.txt")
_ADVICE = "one of each a line"


@dataclass(frozen=True, kw_only=True)
class LineLists:
    """Lists that are read whole and kept while their rows are read; rows are known by number.

    Lines that are blank in both are no rows.
    """

    path: Path  #: the list of media
    captions: Path | None  #: None: there is no such list beside it
    encoding: str = "utf-8"

    def columns(self) -> list[str]:
        return ["file_name"] if self.captions is None else ["file_name", "caption"]

    def starts(self) -> Iterator[int]:
        yield from (number for number, pair in enumerate(self._pairs()) if any(pair))

    def rows(self, start: int, count: int) -> Iterator[tuple[int, Row]]:
        columns, pairs = self.columns(), self._pairs()
        filled = (number for number in range(start, len(pairs)) if any(pairs[number]))
        for number in islice(filled, count):
            values = [*pairs[number]][: len(columns)]
            yield number, name_values(columns, values, encoding=self.encoding, advice=_ADVICE)

    def place(self, start: int) -> str:
        return f"line {start + 1} of {self.path.name}"

    def _pairs(self) -> list[tuple[bytes, bytes]]:
        files = [file for file in (self.path, self.captions) if file is not None]
        return _read(*files, versions=tuple(_version(file) for file in files))


def find_lists(folder: Path) -> list[Path]:
    """The lists of media in a folder that have a list of captions beside them."""
    if captions_beside(folder / MEDIA_LISTS[0]) is None:
        return []
    return [folder / name for name in MEDIA_LISTS if (folder / name).is_file()]


def captions_beside(path: Path) -> Path | None:
    """The list of captions in the folder of ``path``."""
    return next(
        (path.with_name(name) for name in CAPTION_LISTS if path.with_name(name).is_file()), None
    )


def _version(file: Path) -> tuple[int, int]:
    try:
        info = file.stat()
    except OSError as error:
        raise PrepError(f"cannot read the list {file}: {error.strerror}") from error
    return info.st_size, info.st_mtime_ns


@lru_cache(maxsize=1)
def _read(
    media: Path, captions: Path | None = None, *, versions: object
) -> list[tuple[bytes, bytes]]:
    """The lines of both lists, side by side."""
    paths = _lines(media)
    texts = [b""] * len(paths) if captions is None else _lines(captions)
    if len(_without_blank_end(paths)) > len(texts) or len(_without_blank_end(texts)) > len(paths):
        raise PrepError(
            f"{media} has {len(paths)} lines and {captions} has {len(texts)}: line by line "
            "they must belong together"
        )
    num_lines = max(len(_without_blank_end(paths)), len(_without_blank_end(texts)))
    return list(zip_longest(paths[:num_lines], texts[:num_lines], fillvalue=b""))


def _lines(file: Path) -> list[bytes]:
    with open_text(file) as opened:
        data = opened.read(MAX_DOCUMENT_BYTES + 1)
    if len(data) > MAX_DOCUMENT_BYTES:
        raise PrepError(
            f"{file} is a list of more than {MAX_DOCUMENT_BYTES} bytes: write a table (JSON "
            "lines, CSV)"
        )
    lines = [line.strip() for line in data.split(b"\n")]
    return lines if lines[-1] else lines[:-1]


def _without_blank_end(lines: list[bytes]) -> list[bytes]:
    end = len(lines)
    while end and not lines[end - 1]:
        end -= 1
    return lines[:end]
