"""The index of a dataset of ours, from what was noted as its tars were written; none is opened
unless in doubt.

index.uuid is made of the tars' names and hashes: another run over the same tars gives the same one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from energon_prep.errors import PrepError
from energon_prep.indexing.database import Holdings, add_rows, leftovers, read_holdings
from energon_prep.indexing.meta import (
    INFO_JSON,
    SQLITE,
    UUID,
    read_shard_counts,
    remove_index,
    set_split_aside,
    take_over,
)
from energon_prep.layout import META_DIR, PRIVATE_DIR, idx_name
from energon_prep.shards.ledger import (
    LedgerEntry,
    has_rows,
    load_rows,
    mend_rows,
    scan_rows,
    write_entry,
)
from energon_prep.shards.rows import ShardRows
from energon_prep.storage import LocalStorage, publish_bytes
from energon_prep.tar_headers import END_OF_ARCHIVE

logger = logging.getLogger(__name__)

#: Called with (shards entered into index.sqlite, shards to be entered).
Progress = Callable[[int, int], None]

_NAMESPACE = uuid.UUID("5d1d8f4e-6a0b-4c55-9a57-2c9d4f0e7b31")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What tells a list of shards from another."""

    uuid: str
    stamp: int  #: for index.sqlite; never 0, which is what a database has that was not stamped


def identify(shards: Sequence[LedgerEntry]) -> Identity:
    digest = hashlib.sha256(
        "".join(f"{entry.shard}\0{entry.sha256}\n" for entry in shards).encode()
    )
    stamp = int.from_bytes(digest.digest()[:4], "big", signed=True)
    return Identity(uuid=str(uuid.uuid5(_NAMESPACE, digest.hexdigest())), stamp=stamp or 1)


def write_index(
    root: Path,
    shards: Sequence[LedgerEntry],
    version: str,
    *,
    sqlite: bool,
    force: bool,
    progress: Progress | None,
) -> bool:
    """Bring .info.json, index.uuid and, if ``sqlite``, index.sqlite up to date; return whether they
    were not.

    A table that only lacks the last shards is added to; without ``sqlite`` one that is not up to
    date is removed. From the first change until the caller writes split.yaml the dataset does not
    load. Raises PrepError; then an index that is wrong is gone, and one that only lacks shards is
    still there.
    """
    meta = root / META_DIR
    identity, info = identify(shards), _info(shards, version)
    held = 0 if force else count_held(meta / SQLITE, shards)
    left_out = not sqlite and held < len(shards)
    has_table = held == len(shards) or (left_out and not (meta / SQLITE).exists())
    if (
        has_table
        and not force
        and _reads(meta / INFO_JSON, info)
        and _reads(meta / UUID, identity.uuid)
    ):
        return False
    database = None
    if sqlite and held < len(shards):
        try:
            database = _build(root, shards, held=held, stamp=identity.stamp, progress=progress)
        except (PrepError, OSError):
            if not _stands(root, shards):
                remove_index(root)
            raise
    set_split_aside(meta)
    # first: sqlite alone would be another kind of dataset
    publish_bytes(LocalStorage(meta), INFO_JSON, info.encode())
    if database is not None or left_out:
        for path in leftovers(meta / SQLITE):
            path.unlink(missing_ok=True)
    if database is not None:
        take_over(database, meta / SQLITE)
    elif left_out:
        (meta / SQLITE).unlink(missing_ok=True)
    publish_bytes(LocalStorage(meta), UUID, identity.uuid.encode())
    return True


def count_held(path: Path, shards: Sequence[LedgerEntry]) -> int:
    """How many of the first ``shards`` index.sqlite holds, whole and with nothing else; 0: it is of
    no use.
    """
    found = read_holdings(path)
    if found is None or found.shards > len(shards):
        return 0
    held = shards[: found.shards]
    expected = Holdings(
        stamp=identify(held).stamp,
        shards=len(held),
        samples=sum(entry.num_samples for entry in held),
        parts=sum(entry.num_parts for entry in held),
    )
    return len(held) if found == expected else 0


def _stands(root: Path, shards: Sequence[LedgerEntry]) -> bool:
    """Whether the index that is there is right for the shards it names, which are the first of
    ``shards``.
    """
    named = read_shard_counts(root / META_DIR) or {}
    held = shards[: len(named)]
    counts = {entry.shard: entry.num_samples for entry in held}
    return list(named.items()) == list(counts.items()) and _reads(
        root / META_DIR / UUID, identify(held).uuid
    )


def _build(
    root: Path, shards: Sequence[LedgerEntry], *, held: int, stamp: int, progress: Progress | None
) -> Path:
    """A new database under a temporary name: a copy with the rest added if most of it is there
    already.
    """
    database = root / META_DIR / PRIVATE_DIR / "tmp" / SQLITE
    if 2 * held < len(shards):
        held = 0
    if held:
        shutil.copyfile(root / META_DIR / SQLITE, database)
    add_rows(database, _rows(root, shards, held, progress), stamp=stamp)
    database.chmod(
        stat.S_IMODE((root / shards[0].shard).stat().st_mode) | stat.S_IRUSR | stat.S_IWUSR
    )
    return database


def _rows(
    root: Path, shards: Sequence[LedgerEntry], start: int, progress: Progress | None
) -> Iterator[tuple[int, ShardRows]]:
    storage = LocalStorage(root)
    for number in range(start, len(shards)):
        try:
            rows = load_rows(storage, shards[number])
        except ValueError as error:
            logger.warning(
                "%s: its recorded rows are %s: its headers are read again",
                shards[number].shard,
                error,
            )
            with storage.locked():
                rows = mend_rows(storage, shards[number])
        yield number, rows
        if progress is not None:
            progress(number + 1 - start, len(shards) - start)


def _info(shards: Sequence[LedgerEntry], version: str) -> str:
    counts = {entry.shard: entry.num_samples for entry in shards}
    return json.dumps({"energon_version": version, "shard_counts": counts}, indent=2)


def _reads(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except FileNotFoundError:
        return False


def check_tars(root: Path, shards: Sequence[LedgerEntry], *, threads: int) -> list[str]:
    """Make sure that the rows recorded of each tar are those of the tar, and that its .idx is
    there; return warnings.

    The sizes were compared already. A tar with another time than recorded, as copying leaves it, is
    held against its rows header by header, once: then its time is recorded. A lost .idx is written
    again. Raises PrepError for a tar that is not the one that was written.
    """
    storage = LocalStorage(root)
    lost = [
        entry for entry in shards if not (has_rows(storage, entry) and _ends_right(storage, entry))
    ]
    touched = [entry for entry in shards if storage.mtime_ns(entry.shard) != entry.mtime_ns]
    warnings = []
    if lost or touched:
        with storage.locked(), ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(lambda entry: _mend(storage, entry), lost):
                pass
            for _ in pool.map(lambda entry: _check_headers(storage, entry), touched):
                pass
    if lost:
        warnings.append(
            f"{len(lost)} shards, first {lost[0].shard}, had lost their .idx or their rows: "
            "these were written again"
        )
    if touched:
        warnings.append(
            f"{len(touched)} tars, first {touched[0].shard}, were copied or touched after "
            "they were written: their sizes and headers are the recorded ones; only verify "
            "looks at their content"
        )
    return warnings


def _ends_right(storage: LocalStorage, entry: LedgerEntry) -> bool:
    """Whether the last number of the .idx is where the tar's members end."""
    with storage.open(idx_name(entry.index)) as idx:
        idx.seek(-8, 2)
        return int.from_bytes(idx.read(), "little") == entry.bytes - len(END_OF_ARCHIVE)


def _mend(storage: LocalStorage, entry: LedgerEntry) -> None:
    mend_rows(storage, entry)  # its result is not kept: that would be all rows at once


def _check_headers(storage: LocalStorage, entry: LedgerEntry) -> None:
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
