"""What of it is ours, how it is emptied for a new start, and what is damaged set aside."""

from __future__ import annotations

from energon_prep.errors import PrepError
from energon_prep.layout import (
    BAD_DIR,
    LEDGER_DIR,
    META_DIR,
    PLAN,
    REJECTS_DIR,
    RUN,
    entry_name,
    idx_name,
    rejects_name,
    rows_name,
    tar_name,
)
from energon_prep.storage import LocalStorage, Storage
from energon_prep.targets import TARGETS, Target, get_target
from energon_prep.targets.caption_files import caption_file_names


def refuse_foreign(storage: Storage, *, where: str) -> None:
    """Raise PrepError if there are tars in a destination that no run of ours began: they would end
    up in its index.
    """
    tars = [name for name in storage.names(".") if name.endswith((".tar", ".tgz"))]
    if tars:
        raise PrepError(
            f"{where} holds {len(tars)} tars that energon-prep did not write ({tars[0]}, ...): "
            "give an empty or a new destination"
        )


def forget_plan(storage: Storage) -> None:
    """Remove the plan of a run that never began: without run.json nothing says what it was a plan
    of.
    """
    storage.remove(PLAN)


def clear(storage: Storage, target: Target) -> None:
    """Remove a dataset of ours; files of others stay, but for what ``target`` is about to write.

    The ledger goes first and run.json last: cut short, this leaves a dataset that lacks shards and
    knows it.
    """
    if not storage.exists(RUN):
        return
    for folder in (LEDGER_DIR, REJECTS_DIR, BAD_DIR, META_DIR):
        for name in storage.names(folder):
            storage.remove(f"{folder}/{name}")
    for name in storage.names("."):
        if name.startswith("shard_") and name.endswith((".tar", ".tar.idx")):
            storage.remove(name)
    for known in (*map(get_target, TARGETS), target):
        for name in caption_file_names(known):
            storage.remove(name)
    forget_plan(storage)
    storage.remove(RUN)


def set_aside(storage: LocalStorage, index: int) -> None:
    """Move a damaged shard out of the dataset, whose next ``encode`` makes it again.

    The ledger's entry goes first: cut short, this leaves a tar that nothing vouches for, and that
    is replaced.
    """
    names = (entry_name, tar_name, idx_name, rows_name, rejects_name)
    for name in (name_of(index) for name_of in names):
        set_file_aside(storage, name)


def set_records_aside(storage: LocalStorage, index: int) -> None:
    """Move away the .idx and the rows of a shard, whose next ``encode`` makes them again from the
    tar's headers.
    """
    for name in (idx_name(index), rows_name(index)):
        set_file_aside(storage, name)


def set_file_aside(storage: LocalStorage, name: str) -> None:
    """Move a file into BAD_DIR, over what lay there of an earlier time; one that is missing is no
    error.
    """
    aside = storage.root / BAD_DIR / name.rpartition("/")[2]
    aside.parent.mkdir(parents=True, exist_ok=True)
    try:
        (storage.root / name).replace(aside)
    except FileNotFoundError:
        return
