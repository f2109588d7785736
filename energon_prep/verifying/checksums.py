"""What a dataset has once, and the ledger's entries, against the checksums in the ledger's head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from energon_prep.errors import PrepError
from energon_prep.layout import EMPTY_CAPTION, LEDGER_HEAD, PLAN, RUN, entry_name
from energon_prep.shards.head import Head, read_head
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.storage import LocalStorage
from energon_prep.verifying.accounts import Broken

_FROM_A_COPY = "restore it, or start over with encode --overwrite"


def checksum_problems(
    root: Path, entries: Sequence[LedgerEntry] | None, caption_names: Sequence[str]
) -> Iterator[tuple[str, Broken | None]]:
    """What is not what was written, with what must be made again to mend it, if anything; files
    that are missing are told elsewhere.

    ``caption_names``: what the dataset has of the empty caption.
    """
    storage = LocalStorage(root)
    try:
        head = read_head(storage)
    except PrepError as error:
        yield str(error), LEDGER_HEAD
        return
    if head is None:
        yield f"{LEDGER_HEAD}: it is missing: run the same encode again", None
        return
    for name in dict.fromkeys((RUN, PLAN, EMPTY_CAPTION, *caption_names)):
        problem = _file_problem(storage, head, name)
        if problem:
            yield problem, None if name == RUN else name
    for entry in entries or ():
        if not head.fits_entry(entry):
            yield f"{entry_name(entry.index)}: it is not the entry that was written", entry.index
    unknown = [entry for entry in entries or () if entry.index not in head.entries]
    if unknown:
        yield (
            f"{LEDGER_HEAD}: {len(unknown)} finished shards, first {unknown[0].index}, are not in "
            "it, as the run did not end: run the same encode again",
            None,
        )


def plan_fits(root: Path) -> bool:
    """Whether the plan is the one that was written, or that cannot be told."""
    storage = LocalStorage(root)
    try:
        head = read_head(storage)
        return head is None or head.fits(storage, PLAN)
    except (PrepError, OSError):
        return True


def _file_problem(storage: LocalStorage, head: Head, name: str) -> str | None:
    if not storage.exists(name):
        return None
    remedy = _FROM_A_COPY if name == RUN else "its sha256 is another"
    try:
        if name not in head.files:
            return f"{LEDGER_HEAD}: {name} is not in it: run the same encode again"
        if head.fits(storage, name):
            return None
        return f"{name}: it is not the file that was written: {remedy}"
    except OSError as error:
        return f"{name}: it cannot be read ({error.strerror or error}): {remedy}"
