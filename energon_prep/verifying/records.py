"""What lies beside a tar, its .idx and the rows of its index; the tar itself stays closed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from energon_prep.indexing.meta import idx_path, read_idx
from energon_prep.indexing.tars import has_end_mark
from energon_prep.layout import idx_name, rows_name
from energon_prep.shards.ledger import LedgerEntry, load_rows
from energon_prep.storage import LocalStorage


def record_problems(root: Path, entry: LedgerEntry) -> Iterator[str]:
    """What is wrong with the .idx and the rows of a shard of ours, which ``encode`` wrote with its
    tar.
    """
    storage = LocalStorage(root)
    name = rows_name(entry.index)
    try:
        rows = load_rows(storage, entry)
    except (OSError, ValueError) as error:
        yield f"{name}: it cannot be read ({_words(error)})"
        return
    name = idx_name(entry.index)
    try:
        if storage.read(name) != rows.idx():
            yield f"{name}: it is not what was written with the tar"
    except OSError as error:
        yield f"{name}: it cannot be read ({_words(error)})"


def idx_problems(root: Path, tar: str, num_samples: int) -> Iterator[str]:
    """Whether the .idx of somebody's tar, of which the index says how many samples it has, fits
    it.
    """
    name = idx_path(Path(tar)).as_posix()
    try:
        offsets = read_idx(idx_path(root / tar))
        fits = len(offsets) == num_samples + 1 and has_end_mark(root / tar, offsets[-1])
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
