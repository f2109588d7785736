"""The index of tars of others, or for an Energon that we do not know: by Energon's own preparation.

It works in a folder of links, and what it made is taken over only when it is whole:

    .nv-meta/.energon-prep/staging/data/shard_000000.tar -> DST/shard_000000.tar
    .nv-meta/.energon-prep/staging/data/{shard_000000.tar.idx,.nv-meta/...}   until taken over

``energon prepare`` does not look into hidden folders, so what a lost node leaves here is in
nobody's way.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from energon_prep.errors import PrepError
from energon_prep.indexing.checks import stop_at
from energon_prep.indexing.energon_process import prepare
from energon_prep.indexing.meta import (
    INFO_JSON,
    SQLITE,
    UUID,
    idx_path,
    read_idx,
    read_shard_counts,
    read_sqlite_counts,
    remove_index,
    set_split_aside,
    take_over,
)
from energon_prep.indexing.scan import Oddities, merge_oddities, scan_tars
from energon_prep.indexing.tars import has_end_mark
from energon_prep.layout import META_DIR, PRIVATE_DIR

logger = logging.getLogger(__name__)

Tell = Callable[[str], None]  #: called with a warning as soon as it is known


def prepare_foreign(
    root: Path,
    tars: Sequence[str],
    known_counts: Mapping[str, int] | None,
    *,
    sqlite: bool,
    force: bool,
    workers: int,
    timeout: float | None,
    tell: Tell | None,
) -> tuple[bool, list[str]]:
    """Have Energon prepare the tars unless the index is current; return whether it was done, and
    warnings.

    ``known_counts``: the samples of each tar, where they are known; else the headers are looked at
    first, and what is odd about them goes to ``tell`` before anything is written. An index that was
    stale does not survive a failure. Raises PrepError.
    """
    stale = why_stale(root, tars, known_counts, sqlite=sqlite)
    if not force and stale is None:
        return False, []
    logger.info("preparing %s: %s", root, stale or "forced")
    oddities: Oddities = {}
    try:
        expected = (
            known_counts if known_counts is not None else _scan(root, tars, workers, oddities)
        )
        warnings = [f"{count} x {what}, first {where}" for what, (count, where) in oddities.items()]
        if tell is not None:
            for warning in warnings:
                tell(warning)
        counts = {tar: expected[tar] for tar in tars}
        _prepare_aside(root, counts, workers=workers, timeout=timeout, sqlite=sqlite)
    except PrepError:
        if stale is not None:
            remove_index(root)
        raise
    return True, warnings


def _scan(root: Path, tars: Sequence[str], threads: int, oddities: Oddities) -> dict[str, int]:
    counts: dict[str, int] = {}
    errors: list[str] = []
    for scan in scan_tars(root, tars, threads=threads):
        counts[scan.tar] = scan.samples
        errors += scan.errors
        merge_oddities(oddities, scan.oddities)
    stop_at(root, errors)
    return counts


def why_stale(
    root: Path, tars: Sequence[str], known_counts: Mapping[str, int] | None, *, sqlite: bool = True
) -> str | None:
    """Why the tars must be prepared (again), or None if the index is current.

    ``known_counts``: the ledger's samples of each tar, for a dataset of ours. Without ``sqlite``
    that table may be missing. The tars are not read, only one block of each.
    """
    meta = root / META_DIR
    counts = read_shard_counts(meta)
    if counts is None:
        return "there is no index"
    if list(counts) != list(tars):
        return "the tars are not those of the index"
    if known_counts is not None and counts != known_counts:
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
    return (
        None
        if stored == dict(enumerate(counts.values()))
        else f"{SQLITE} has other samples than the tars"
    )


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


def _prepare_aside(
    root: Path, expected: Mapping[str, int], *, workers: int, timeout: float | None, sqlite: bool
) -> None:
    """Have Energon index the tars of ``expected`` (tar -> samples, in order), and publish .idx,
    sqlite and .info.json.

    Without ``sqlite`` that table is left out. From here until the caller writes split.yaml the
    dataset does not load. Raises PrepError if the preparation fails or counts other samples; then
    nothing was published.
    """
    with _empty_folder(root / META_DIR / PRIVATE_DIR / "staging") as staging:
        data = staging / "data"
        (data / META_DIR).mkdir(parents=True)
        for tar in expected:
            (data / tar).parent.mkdir(parents=True, exist_ok=True)
            (data / tar).symlink_to(root / tar)
        prepare(data, list(expected), workers=workers, timeout=timeout, scratch=staging)
        _require_counts(read_shard_counts(data / META_DIR) or {}, expected)
        set_split_aside(root / META_DIR)
        (root / META_DIR / SQLITE).unlink(missing_ok=True)
        for tar in expected:
            take_over(idx_path(data / tar), idx_path(root / tar))
        # the table last: alone it would be another kind of dataset
        for name in (INFO_JSON, UUID, *([SQLITE] if sqlite else [])):
            take_over(data / META_DIR / name, root / META_DIR / name)


@contextmanager
def _empty_folder(path: Path) -> Iterator[Path]:
    shutil.rmtree(path, ignore_errors=True)  # of a process that died: the lock is ours
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _require_counts(counts: Mapping[str, int], expected: Mapping[str, int]) -> None:
    for tar, samples in expected.items():
        if counts.get(tar) != samples:
            raise PrepError(
                f"{tar}: Energon counts {counts.get(tar, 0)} samples in it, not {samples}: "
                "the tar was changed or is damaged. Restore it "
                "(for a dataset of energon-prep: run the same encode again)"
            )
