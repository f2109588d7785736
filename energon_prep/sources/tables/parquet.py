"""The rows of Parquet files, read by row groups, media bytes left where they lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energon_prep.errors import PrepError, SampleError
from energon_prep.sources.media import is_of_machine
from energon_prep.sources.tables.arrow import row_of
from energon_prep.sources.tables.base import Row

_MOST_ROWS_A_BYTE = 100  #: however well rows are compressed, each names other media
_BATCH_ROWS = 16  # rows decoded together: they may hold media of megabytes each


@dataclass(frozen=True, kw_only=True)
class Parquet:
    """A Parquet file; rows are known by their number. Needs pyarrow, the ``parquet`` extra."""

    path: Path

    def columns(self) -> list[str]:
        with _open(self.path) as file:
            import pyarrow

            try:
                return [str(name) for name in file.schema_arrow.names]
            except (OSError, ValueError, pyarrow.ArrowException) as error:
                raise PrepError(
                    f"cannot read the columns of the Parquet file {self.path}: {error}"
                ) from error

    def starts(self) -> Iterator[int]:
        with _open(self.path) as file:
            num_rows = file.metadata.num_rows
        size = self.path.stat().st_size
        if num_rows > _MOST_ROWS_A_BYTE * size:  # the number is no more than a claim
            raise PrepError(
                f"the Parquet file {self.path} claims {num_rows} rows in {size} bytes: write "
                "it again"
            )
        yield from range(num_rows)

    def rows(self, start: int, count: int) -> Iterator[tuple[int, Row]]:
        """Bytes come as memoryviews of the decoded column. A row group that is broken gives a fault
        for each row.
        """
        with _open(self.path) as file:
            first = 0
            for group in range(file.num_row_groups):
                behind = first + file.metadata.row_group(group).num_rows
                wanted = range(max(first, start), min(behind, start + count))
                if wanted:
                    yield from _group_rows(file, group, first, wanted)
                first = behind

    def place(self, start: int) -> str:
        return f"row {start} (from 0) of {self.path.name}"


def _open(path: Path) -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise PrepError("Parquet needs pyarrow: pip install 'energon-prep[parquet]'") from error
    try:
        # Without pre_buffer a row group is read as it is needed, not whole.
        return pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=2**20)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        # ValueError: a name that is not UTF-8
        raise PrepError(f"cannot read the Parquet file {path}: {error}") from error


def _group_rows(file: Any, group: int, first: int, wanted: range) -> Iterator[tuple[int, Row]]:
    """The rows with numbers in ``wanted`` of a row group that begins with row ``first``."""
    import pyarrow

    batches = file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group], use_threads=False)
    place = first
    while place < wanted.stop:
        try:
            batch = next(batches)
        except (OSError, ValueError, MemoryError, StopIteration, pyarrow.ArrowException) as error:
            if is_of_machine(error):
                raise PrepError(
                    f"cannot read row group {group} of a Parquet file: {error}: that is no fault "
                    "of its rows. Mend it and run the same command again; what is finished is kept"
                ) from error
            fault = SampleError(
                "read", "the Parquet row group cannot be read", f"row group {group}: {error}"
            )
            yield from ((number, fault) for number in range(max(place, wanted.start), wanted.stop))
            return
        for index in range(max(0, wanted.start - place), min(batch.num_rows, wanted.stop - place)):
            yield place + index, row_of(batch, index)
        place += batch.num_rows
