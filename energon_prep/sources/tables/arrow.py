"""The rows of Arrow files and streams, such as Hugging Face's ``save_to_disk`` writes, left where
they lie.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energon_prep.errors import PrepError, SampleError
from energon_prep.sources.tables.base import Row

_FILE_MAGIC = b"ARROW1"  # of a file, which knows where its batches lie; a stream has none


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """An Arrow IPC file or stream; rows are known by their number. Needs pyarrow, the ``parquet``
    extra.
    """

    path: Path

    def columns(self) -> list[str]:
        with _open(self.path) as reader:
            return [str(name) for name in reader.schema.names]

    def starts(self) -> Iterator[int]:
        with _open(self.path) as reader:
            num_rows = sum(batch.num_rows for batch in _batches(reader))
        yield from range(num_rows)

    def rows(self, start: int, count: int) -> Iterator[tuple[int, Row]]:
        """Bytes come as memoryviews of the file. A batch that is broken gives a fault for each
        row.
        """
        with _open(self.path) as reader:
            first = 0
            for batch in _batches(reader):
                wanted = range(max(first, start), min(first + batch.num_rows, start + count))
                fault = _fault_of(batch) if wanted else None
                for number in wanted:
                    yield number, fault or row_of(batch, number - first)
                first += batch.num_rows
                if first >= start + count:
                    return

    def place(self, start: int) -> str:
        return f"row {start} (from 0) of {self.path.name}"


def row_of(batch: Any, index: int) -> Row:
    """A row of a record batch."""
    try:
        return {
            name: _value(column[index])
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }
    except (ValueError, OverflowError) as error:
        # text that is not UTF-8, a date that Python does not have
        return SampleError("read", "a value of the row cannot be read", str(error))


def _fault_of(batch: Any) -> SampleError | None:
    """Offsets that lead out of the batch would end the process."""
    import pyarrow

    try:
        batch.validate(full=True)
    except pyarrow.ArrowException as error:
        return SampleError("read", "the Arrow batch cannot be read", str(error))
    return None


def _value(scalar: Any) -> Any:
    import pyarrow.types as types

    if not scalar.is_valid:
        return None
    kind = scalar.type
    if types.is_binary(kind) or types.is_large_binary(kind):
        return memoryview(scalar.as_buffer())
    if types.is_struct(kind):
        return {field.name: _value(scalar[field.name]) for field in kind}
    if _is_list(kind) and (types.is_struct(kind.value_type) or types.is_binary(kind.value_type)):
        return [_value(item) for item in scalar]
    if types.is_timestamp(kind) and kind.unit == "ns":  # finer than Python's
        import pyarrow

        return scalar.cast(pyarrow.timestamp("us", kind.tz), safe=False).as_py()
    return scalar.as_py()


def _is_list(kind: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """A reader of the file. What pyarrow finds wrong with it while it is open is a PrepError."""
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as error:
        raise PrepError("Arrow files need pyarrow: pip install 'energon-prep[parquet]'") from error
    try:
        with pyarrow.memory_map(str(path)) as file:
            is_file = file.read(len(_FILE_MAGIC)) == _FILE_MAGIC
            file.seek(0)
            yield pyarrow.ipc.open_file(file) if is_file else pyarrow.ipc.open_stream(file)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise PrepError(f"cannot read the Arrow file {path}: {error}") from error


def _batches(reader: Any) -> Iterator[Any]:
    if hasattr(reader, "get_batch"):
        yield from map(reader.get_batch, range(reader.num_record_batches))
    else:
        yield from reader
