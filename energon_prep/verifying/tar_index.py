"""The .idx and the sqlite rows of one tar against the tar."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from energon_prep.indexing.meta import SQLITE, idx_path, open_sqlite, read_idx
from energon_prep.layout import META_DIR

_SAMPLES = (
    "SELECT sample_key, sample_index, byte_offset, byte_offset + byte_size FROM samples "
    "WHERE tar_file_id = ? ORDER BY sample_index"
)
_PARTS = (
    "SELECT sample_index, part_name, content_byte_offset, content_byte_size FROM sample_parts "
    "WHERE tar_file_id = ? ORDER BY sample_index, content_byte_offset"
)


class TarIndex:
    """Is told the samples and parts of a tar as they come by, and holds them against the index.

    Of each file only the first difference is kept: the others follow from it. Memory: the .idx.
    """

    def __init__(self, root: Path, tar: str, *, tar_file_id: int, has_sqlite: bool) -> None:
        self._count = 0
        self._problems: dict[str, str] = {}
        self._idx = idx_path(Path(tar)).name
        self._offsets: Sequence[int] = ()
        self._sample_rows: Iterator[tuple[Any, ...]] | None = None
        self._part_rows: Iterator[tuple[Any, ...]] | None = None
        self._end: int | None = None  #: of the last sample, says sqlite
        self._open = ExitStack()
        try:
            self._offsets = read_idx(idx_path(root / tar))
        except OSError as error:
            self._differ(self._idx, f"it cannot be read ({error.strerror or error})")
        if has_sqlite:
            self._open_sqlite(root / META_DIR / SQLITE, tar_file_id)

    def sample(self, key: str, offset: int) -> None:
        """The next sample's header is at ``offset``."""
        if self._count < len(self._offsets) and self._offsets[self._count] != offset:
            self._differ(
                self._idx,
                f"sample {self._count} begins at {self._offsets[self._count]}, in the tar at "
                f"{offset}",
            )
        if self._sample_rows is not None:
            self._require_end(offset)
            row = self._next(self._sample_rows) or (None, None, None, None)
            if row[:3] != (key, self._count, offset):
                self._differ(
                    SQLITE,
                    f"sample {self._count} is {row[0]!r} at {row[2]}, in the tar {key!r} at "
                    f"{offset}",
                )
            self._end = row[3]
        self._count += 1

    def part(self, name: str, offset: int, size: int) -> None:
        """The next part has ``size`` bytes of content at ``offset``."""
        if self._part_rows is not None:
            row = self._next(self._part_rows)
            if row != (self._count - 1, name, offset, size):
                self._differ(
                    SQLITE,
                    f"sample {self._count - 1} has in the tar {size} bytes of {name!r} at {offset}",
                )

    def finish(self, end: int) -> tuple[str, ...]:
        """The members end at ``end``: what differs in all."""
        if list(self._offsets[self._count :]) != [end]:
            self._differ(
                self._idx,
                f"it does not end where the tar does, after {self._count} samples at {end}",
            )
        if self._sample_rows is not None and self._part_rows is not None:
            self._require_end(end)
            if self._next(self._sample_rows) or self._next(self._part_rows):
                self._differ(SQLITE, "it has more samples or parts than the tar")
        return tuple(self._problems.values())

    def __enter__(self) -> TarIndex:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._open.close()

    def _open_sqlite(self, path: Path, tar_file_id: int) -> None:
        try:
            connection = self._open.enter_context(open_sqlite(path))
            self._sample_rows = connection.execute(_SAMPLES, (tar_file_id,))
            self._part_rows = connection.execute(_PARTS, (tar_file_id,))
        except sqlite3.Error as error:
            self._differ(SQLITE, f"it cannot be read ({error})")

    def _next(self, rows: Iterator[tuple[Any, ...]]) -> tuple[Any, ...] | None:
        try:
            return next(rows, None)
        except sqlite3.Error as error:
            self._differ(SQLITE, f"it cannot be read ({error})")
            return None

    def _require_end(self, offset: int) -> None:
        if self._count and self._end != offset:
            self._differ(
                SQLITE, f"sample {self._count - 1} ends at {self._end}, in the tar at {offset}"
            )

    def _differ(self, file: str, problem: str) -> None:
        self._problems.setdefault(file, f"{file}: {problem}: run energon-prep index")
