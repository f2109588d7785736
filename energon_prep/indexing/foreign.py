"""Station 7, indexing: the index of tars that nothing vouches for, or for an Energon that is not known: by Energon."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from energon_prep.errors import PrepError
from energon_prep.indexing.current import why_stale
from energon_prep.indexing.scan import Oddities, merge_oddities, scan_tars
from energon_prep.indexing.staged import prepare_staged, retire

logger = logging.getLogger(__name__)

Tell = Callable[[str], None]  #: called with a warning as soon as it is known

_MOST_NAMED = 20  #: problems in one message


def prepare_foreign(
    root: Path,
    tars: Sequence[str],
    vouched: Mapping[str, int] | None,
    *,
    sqlite: bool,
    force: bool,
    workers: int,
    timeout: float | None,
    tell: Tell | None,
) -> tuple[bool, list[str]]:
    """Have Energon prepare the tars unless the index is current; return whether it was done, and warnings.

    ``vouched``: the samples of each tar, where they are known; else the headers are looked at first, and what is odd
    about them goes to ``tell`` before anything is written. An index that was stale does not survive a failure. Raises
    PrepError.
    """
    stale = why_stale(root, tars, vouched, sqlite=sqlite)
    if not force and stale is None:
        return False, []
    logger.info("preparing %s: %s", root, stale or "forced")
    oddities: Oddities = {}
    try:
        expected = vouched if vouched is not None else _scan(root, tars, workers, oddities)
        warnings = [f"{count} x {what}, first {where}" for what, (count, where) in oddities.items()]
        if tell is not None:
            for warning in warnings:
                tell(warning)
        counts = {tar: expected[tar] for tar in tars}
        prepare_staged(root, counts, workers=workers, timeout=timeout, sqlite=sqlite)
    except PrepError:
        if stale is not None:
            retire(root)
        raise
    return True, warnings


def stop_at(root: Path, problems: Iterable[str]) -> None:
    """Raise PrepError if there are any."""
    named = list(problems)
    if named:
        rest = [f"and {len(named) - _MOST_NAMED} more"] if len(named) > _MOST_NAMED else []
        raise PrepError("\n  ".join([f"cannot index {root}:", *named[:_MOST_NAMED], *rest]))


def _scan(root: Path, tars: Sequence[str], threads: int, oddities: Oddities) -> dict[str, int]:
    counts: dict[str, int] = {}
    errors: list[str] = []
    for scan in scan_tars(root, tars, threads=threads):
        counts[scan.tar] = scan.samples
        errors += scan.errors
        merge_oddities(oddities, scan.oddities)
    stop_at(root, errors)
    return counts
