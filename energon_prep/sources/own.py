"""A user's class as a source: it makes or finds samples, and is built again in every worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from energon_prep.errors import PrepError
from energon_prep.plugins import make
from energon_prep.samples import PendingSample
from energon_prep.sources.account import Account
from energon_prep.sources.base import Entry, Piece
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.walk import absolute


class OwnSource:
    """The class is made with ``root``, what the command line calls SRC, and ``options``.

    ``list`` need not count: a sample that it has not entered into the account is entered for it.
    """

    def __init__(self, kind: str, root: str, options: SourceOptions) -> None:
        path = Path(root).expanduser()
        self._root = str(absolute(path)) if path.exists() else root  # for other working folders
        plugin = make(
            "source",
            kind,
            members=("list", "read"),
            arguments={"root": self._root, "options": options},
        )
        self._kind = kind
        self._options = options
        self._own, self._about = plugin.made, plugin.about

    def describe(self) -> dict[str, Any]:
        own = self._own.describe() if hasattr(self._own, "describe") else {}
        return {
            "kind": self._kind,
            "root": self._root,
            "plugin": self._about,
            "own": own,
            **self._options.describe(),
        }

    def list(self, account: Account) -> Iterator[Entry]:
        """As ``Source.list``. Raises PrepError for what is no Entry."""
        before = account.num_samples
        for number, entry in enumerate(self._own.list(account), before + 1):
            if not isinstance(entry, Entry):
                raise PrepError(
                    f"source {self._kind}: list gives a {type(entry).__name__}, no Entry"
                )
            if account.num_samples < number:
                account.find()
                account.add_sample()
            yield entry

    def read(self, piece: Piece) -> Iterator[PendingSample]:
        """As ``Source.read``. Raises PrepError if the samples are not as many as were listed."""
        number = 0
        for pending in self._own.read(piece):
            number += 1
            yield pending
        if number != piece.count:
            raise PrepError(
                f"source {self._kind}: read gives {number} samples of {piece}, where list "
                f"gave {piece.count}"
            )
