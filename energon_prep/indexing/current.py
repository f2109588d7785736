"""Station 7, indexing: whether the index that is there is the one that preparing again would give."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from energon_prep.indexing.meta import META_DIR, SQLITE, idx_path, read_idx, read_shard_counts, read_sqlite_counts
from energon_prep.indexing.tars import has_end_mark


def why_stale(root: Path, tars: Sequence[str], vouched: Mapping[str, int] | None, *, sqlite: bool = True) -> str | None:
    """Why the tars must be prepared (again), or None if the index is current.

    ``vouched``: the ledger's samples of each tar, for a dataset of ours. Without ``sqlite`` that table may be missing.
    The tars are not read, only one block of each.
    """
    meta = root / META_DIR
    counts = read_shard_counts(meta)
    if counts is None:
        return "there is no index"
    if list(counts) != list(tars):
        return "the tars are not those of the index"
    if vouched is not None and counts != vouched:
        return "the counts are not the ledger's"
    for tar in tars:
        reason = _why_idx_stale(root / tar, counts[tar])
        if reason:
            return f"{tar}: {reason}"
    if not sqlite and not (meta / SQLITE).exists():
        return None
    try:
        stored = read_sqlite_counts(meta / SQLITE)
    except sqlite3.Error as error:
        return f"{SQLITE} cannot be read: {error}"
    return None if stored == dict(enumerate(counts.values())) else f"{SQLITE} has other samples than the tars"


def _why_idx_stale(tar: Path, count: int) -> str | None:
    idx = idx_path(tar)
    try:
        if idx.stat().st_mtime_ns < tar.stat().st_mtime_ns:
            return "it is newer than its .idx"
        offsets = read_idx(idx)
        fits = len(offsets) == count + 1 and has_end_mark(tar, offsets[-1])
    except (OSError, ValueError) as error:
        return f"its .idx cannot be read: {error}"
    return None if fits else "its .idx does not fit it"
