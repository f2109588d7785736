"""Station 7, indexing: keys that are unique over a dataset of any size, and that Energon takes for what they are."""

from __future__ import annotations

import re
import sqlite3
import tarfile
from collections.abc import Iterable
from types import TracebackType

from energon_prep.indexing.tars import split_name

_UNFIT = re.compile(r"[^ -~]|[.\\]")  #: what is not printable ASCII, and what Energon cuts names at
_FALLBACK = "samples/fixed"  #: of a key of which nothing usable is left


class FixedKeys:
    """Gives out keys; which are taken is held in a temporary database on disk, so that memory stays flat."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("")
        self._db.execute("CREATE TABLE keys (key TEXT PRIMARY KEY, next INTEGER NOT NULL) WITHOUT ROWID")

    def take(self, key: str, parts: Iterable[str]) -> str:
        """``key`` without dots in its last component, or with a number behind if that is taken; the first is 2."""
        base = clean_key(key)
        if not base or not _fits(base + "_000000000", parts):
            base = _FALLBACK
        candidate = base
        while self._db.execute("INSERT OR IGNORE INTO keys VALUES (?, 2)", (candidate,)).rowcount != 1:
            (number,) = self._db.execute("SELECT next FROM keys WHERE key = ?", (base,)).fetchone()
            self._db.execute("UPDATE keys SET next = ? WHERE key = ?", (number + 1, base))
            candidate = f"{base}_{number}"
        return candidate

    def __enter__(self) -> FixedKeys:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._db.close()


def clean_key(key: str) -> str:
    """``./a/../v1.5`` -> ``a/v1_5``: printable ASCII, relative, no dot in the last component; "" if nothing is left."""
    names = [name for name in key.split("/") if name not in ("", ".", "..")]
    *folders, base = names or [""]
    folders = [re.sub(r"[^ -~]|\\", "_", folder) for folder in folders]
    return "/".join((*folders, _UNFIT.sub("_", base)))


def _fits(key: str, parts: Iterable[str]) -> bool:
    """Whether Energon splits each member's name as it is meant, and a USTAR header holds it."""
    for part in parts:
        name = f"{key}.{part}"
        if split_name(name) != (key, part):
            return False
        try:
            tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
        except ValueError:
            return False
    return True
