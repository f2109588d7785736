"""Station 7, indexing: whether keys are unique over a dataset of any size."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator


class KeyRegister:
    """Every key so far, in a temporary database that sqlite keeps on disk and removes: memory stays flat."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("")
        self._db.execute("CREATE TABLE keys (key TEXT PRIMARY KEY, tar TEXT) WITHOUT ROWID")

    def add(self, tar: str, keys: Iterable[str]) -> Iterator[str]:
        """Register the keys of one tar; yield what is wrong with those that another tar has too."""
        keys = list(keys)
        before = self._db.total_changes
        self._db.executemany("INSERT OR IGNORE INTO keys VALUES (?, ?)", ((key, tar) for key in keys))
        if self._db.total_changes - before == len(keys):
            return
        for key in keys:
            (first,) = self._db.execute("SELECT tar FROM keys WHERE key = ?", (key,)).fetchone()
            if first != tar:
                yield f"{tar}: {key}: the key is in {first} too"

    def close(self) -> None:
        self._db.close()
