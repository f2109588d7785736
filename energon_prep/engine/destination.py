"""The engine's destination: what of it is ours, and how it is emptied for a new start."""

from __future__ import annotations

from energon_prep.engine.manifest import RUN
from energon_prep.errors import PrepError
from energon_prep.shards.ledger import LEDGER_DIR, REJECTS_DIR
from energon_prep.storage import Storage


def refuse_foreign(storage: Storage, *, where: str) -> None:
    """Raise PrepError if there are tars in a destination that no run of ours began: they would end up in its index."""
    tars = [name for name in storage.names(".") if name.endswith((".tar", ".tgz"))]
    if tars:
        raise PrepError(
            f"{where} holds {len(tars)} tars that energon-prep did not write ({tars[0]}, ...): "
            "give an empty or a new destination"
        )


def clear(storage: Storage) -> None:
    """Remove a dataset of ours; files of others stay.

    The ledger goes first and run.json last: cut short, this leaves a dataset that lacks shards and knows it.
    """
    if not storage.exists(RUN):
        return
    for folder in (LEDGER_DIR, REJECTS_DIR, ".nv-meta"):
        for name in storage.names(folder):
            storage.remove(f"{folder}/{name}")
    for name in storage.names("."):
        if name.startswith("shard_") and name.endswith((".tar", ".tar.idx")):
            storage.remove(name)
    storage.remove(RUN)
