"""Station 7, indexing: whether tars are the recorded ones, by their sizes and times; headers only in doubt."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from energon_prep.errors import PrepError
from energon_prep.layout import idx_name
from energon_prep.shards.ledger import LedgerEntry, has_rows, load_rows, mend_rows, scan_rows, write_entry
from energon_prep.shards.tar import END_OF_ARCHIVE
from energon_prep.storage import LocalStorage


def confirm_tars(root: Path, shards: Sequence[LedgerEntry], *, threads: int) -> list[str]:
    """Make sure that the rows recorded of each tar are those of the tar, and that its .idx is there; return warnings.

    The sizes were compared already. A tar with another time than recorded, as copying leaves it, is held against its
    rows header by header, once: then its time is recorded. A lost .idx is written again. Raises PrepError for a tar
    that is not the one that was written.
    """
    storage = LocalStorage(root)
    lost = [entry for entry in shards if not (has_rows(storage, entry) and _ends_right(storage, entry))]
    touched = [entry for entry in shards if storage.mtime_ns(entry.shard) != entry.mtime_ns]
    warnings = []
    if lost or touched:
        with storage.locked(), ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(lambda entry: _mend(storage, entry), lost):
                pass
            for _ in pool.map(lambda entry: _confirm_headers(storage, entry), touched):
                pass
    if lost:
        warnings.append(
            f"{len(lost)} shards, first {lost[0].shard}, had lost their .idx or their rows: these were written again"
        )
    if touched:
        warnings.append(
            f"{len(touched)} tars, first {touched[0].shard}, were copied or touched after they were written: their "
            "sizes and headers are the recorded ones; only verify looks at their content"
        )
    return warnings


def _ends_right(storage: LocalStorage, entry: LedgerEntry) -> bool:
    """Whether the last number of the .idx is where the tar's members end."""
    with storage.open(idx_name(entry.index)) as idx:
        idx.seek(-8, 2)
        return int.from_bytes(idx.read(), "little") == entry.bytes - len(END_OF_ARCHIVE)


def _mend(storage: LocalStorage, entry: LedgerEntry) -> None:
    mend_rows(storage, entry)  # its result is not kept: that would be all rows at once


def _confirm_headers(storage: LocalStorage, entry: LedgerEntry) -> None:
    rows = scan_rows(storage, entry)
    try:
        same = rows == load_rows(storage, entry)
    except ValueError:
        same = rows == mend_rows(storage, entry)
    if not same:
        raise PrepError(
            f"{entry.shard}: its headers are not those that were written: restore it, "
            "or remove it and run the same encode again"
        )
    write_entry(storage, dataclasses.replace(entry, mtime_ns=storage.mtime_ns(entry.shard)))
