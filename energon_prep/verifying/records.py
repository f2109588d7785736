"""What lies beside a tar, its .idx and the rows of its index; the tar itself stays closed."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

from energon_prep.indexing.meta import idx_path, read_idx
from energon_prep.indexing.tars import has_end_mark
from energon_prep.layout import idx_name, rows_name
from energon_prep.shards.ledger import LedgerEntry, load_rows
from energon_prep.shards.rows import ShardRows
from energon_prep.storage import LocalStorage


def read_records(root: Path, entry: LedgerEntry) -> tuple[ShardRows | None, list[str]]:
    """The rows of a shard of ours, and what is wrong with them and its .idx, which ``encode`` wrote
    with its tar.
    """
    storage = LocalStorage(root)
    name = rows_name(entry.index)
    try:
        rows = _load_rows(storage, entry)
    except (OSError, ValueError) as error:
        return None, [f"{name}: it cannot be read ({_words(error)})"]
    name = idx_name(entry.index)
    expected = rows.idx()
    try:
        # its size first: a damaged file may have any
        if storage.size(name) in (None, len(expected)) and storage.read(name) == expected:
            return rows, []
    except OSError as error:
        return rows, [f"{name}: it cannot be read ({_words(error)})"]
    return rows, [f"{name}: it is not what was written with the tar"]


def _load_rows(storage: LocalStorage, entry: LedgerEntry) -> ShardRows:
    size = storage.size(rows_name(entry.index))
    if size not in (None, entry.rows_bytes):
        raise ValueError(f"it has {size} bytes, and {entry.rows_bytes} were written")
    return load_rows(storage, entry)


def idx_problems(root: Path, tar: str, num_samples: int) -> Iterator[str]:
    """Whether the .idx of somebody's tar, of which the index says how many samples it has, fits
    it.
    """
    name = idx_path(Path(tar)).as_posix()
    try:
        size = idx_path(root / tar).stat().st_size
        offsets = read_idx(idx_path(root / tar)) if size == 8 * (num_samples + 1) else array("Q")
        fits = len(offsets) > num_samples and has_end_mark(root / tar, offsets[-1])
    except OSError as error:
        yield f"{name}: it cannot be read ({_words(error)}): run energon-prep index"
        return
    if not fits:
        yield (
            f"{name}: it does not end where the tar does, after {num_samples} samples: run "
            "energon-prep index"
        )


def _words(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
