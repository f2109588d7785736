"""Sets aside what is damaged, so that the next ``encode`` makes just that again.

DST/.energon-prep/bad/    what was set aside; nothing reads it, and it may be removed
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from energon_prep.errors import PrepError
from energon_prep.layout import LEDGER_DIR, shard_stem
from energon_prep.run.destination import set_aside, set_file_aside, set_records_aside
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.storage import LocalStorage
from energon_prep.verifying.accounts import Broken
from energon_prep.verifying.shard import ShardCheck


class Damage:
    """What making again would mend: whole shards, the records beside a tar, single files."""

    def __init__(self) -> None:
        self.shards: set[int] = set()
        self.records: set[int] = set()
        self.files: set[str] = set()
        self.found = False

    def add(self, broken: Broken) -> None:
        self.found = True
        if isinstance(broken, int):
            self.shards.add(broken)
        else:
            self.files.add(broken)

    def add_check(self, check: ShardCheck) -> None:
        """Note what was found to be damaged of a tar of ours."""
        if check.index is None:  # a tar of others
            return
        if check.tar_damaged:
            self.shards.add(check.index)
        elif check.records_damaged:
            self.records.add(check.index)
        self.found = self.found or check.tar_damaged or check.records_damaged

    def set_aside(self, storage: LocalStorage) -> tuple[str, ...]:
        """Return what was set aside, in words."""
        for index in sorted(self.shards):
            set_aside(storage, index)
        only_records = sorted(self.records - self.shards)
        for index in only_records:
            set_records_aside(storage, index)
        for name in sorted(self.files):
            set_file_aside(storage, name)
        return (
            *(shard_stem(index) for index in sorted(self.shards)),
            *(f"the index rows of {shard_stem(index)}" for index in only_records),
            *sorted(self.files),
        )


def lost_tars(storage: LocalStorage, entries: Iterable[LedgerEntry]) -> set[int]:
    """Shards whose tar is missing or has another size than it was written with."""
    return {
        entry.index for entry in entries if entry.shard and storage.size(entry.shard) != entry.bytes
    }


def unreadable_entries(root: Path) -> Iterator[tuple[int, str]]:
    """Shards whose ledger entry is none, and what is wrong with it: nothing vouches for their
    tars.
    """
    storage = LocalStorage(root)
    for name in storage.names(LEDGER_DIR):
        stem = name.removesuffix(".json")
        number = stem.removeprefix("shard_")
        if stem == name or not number.isdigit() or shard_stem(int(number)) != stem:
            continue
        try:
            entry = LedgerEntry(**json.loads(storage.read(f"{LEDGER_DIR}/{name}")))
            if entry.index != int(number):
                yield int(number), f"it is the entry of shard {entry.index}"
        except (OSError, ValueError, TypeError, PrepError) as error:
            yield int(number), str(error)
