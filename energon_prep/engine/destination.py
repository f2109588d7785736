"""The engine's destination: what of it is ours, how it is emptied for a new start, and what is damaged set aside."""

from __future__ import annotations

from typing import Any

from energon_prep.engine.manifest import RUN
from energon_prep.engine.plan import PLAN
from energon_prep.errors import PrepError
from energon_prep.shards.ledger import LEDGER_DIR, REJECTS_DIR, idx_name, rows_name, shard_stem, tar_name
from energon_prep.storage import PRIVATE_DIR, LocalStorage, Storage
from energon_prep.targets import TARGETS, Target
from energon_prep.targets.serialize import dumps_pickle

EMPTY_CAPTION = f"{PRIVATE_DIR}/empty_caption.pickle"
BAD_DIR = f"{PRIVATE_DIR}/bad"  #: what was set aside; nothing reads it, the user may remove it


def caption_file_names(target: Target) -> tuple[str, ...]:
    """What a dataset has of the empty caption, beside its shards."""
    return (EMPTY_CAPTION, *target.caption_files)


def caption_files(target: Target, text: Any) -> dict[str, bytes]:
    """The same with their contents, made of what the target's ``build_text`` gives of the empty caption."""
    return {EMPTY_CAPTION: dumps_pickle(text), **{name: make(text) for name, make in target.caption_files.items()}}


def refuse_foreign(storage: Storage, *, where: str) -> None:
    """Raise PrepError if there are tars in a destination that no run of ours began: they would end up in its index."""
    tars = [name for name in storage.names(".") if name.endswith((".tar", ".tgz"))]
    if tars:
        raise PrepError(
            f"{where} holds {len(tars)} tars that energon-prep did not write ({tars[0]}, ...): "
            "give an empty or a new destination"
        )


def forget_plan(storage: Storage) -> None:
    """Remove the plan of a run that never began: without run.json nothing says what it was a plan of."""
    storage.remove(PLAN)


def clear(storage: Storage) -> None:
    """Remove a dataset of ours; files of others stay.

    The ledger goes first and run.json last: cut short, this leaves a dataset that lacks shards and knows it.
    """
    if not storage.exists(RUN):
        return
    for folder in (LEDGER_DIR, REJECTS_DIR, BAD_DIR, ".nv-meta"):
        for name in storage.names(folder):
            storage.remove(f"{folder}/{name}")
    for name in storage.names("."):
        if name.startswith("shard_") and name.endswith((".tar", ".tar.idx")):
            storage.remove(name)
    for make in TARGETS.values():
        for name in caption_file_names(make()):
            storage.remove(name)
    forget_plan(storage)
    storage.remove(RUN)


def set_aside(storage: LocalStorage, index: int) -> None:
    """Move a damaged shard out of the dataset, whose next ``encode`` makes it again.

    The ledger's entry goes first: cut short, this leaves a tar that nothing vouches for, and that is replaced.
    """
    stem = shard_stem(index)
    entry, rejects = f"{LEDGER_DIR}/{stem}.json", f"{REJECTS_DIR}/{stem}.jsonl"
    for name in (entry, tar_name(index), idx_name(index), rows_name(index), rejects):
        set_file_aside(storage, name)


def set_records_aside(storage: LocalStorage, index: int) -> None:
    """Move away the .idx and the rows of a shard, whose next ``encode`` makes them again from the tar's headers."""
    for name in (idx_name(index), rows_name(index)):
        set_file_aside(storage, name)


def set_file_aside(storage: LocalStorage, name: str) -> None:
    """Move a file into BAD_DIR, over what lay there of an earlier time; one that is missing is no error."""
    aside = storage.root / BAD_DIR / name.rpartition("/")[2]
    aside.parent.mkdir(parents=True, exist_ok=True)
    try:
        (storage.root / name).replace(aside)
    except FileNotFoundError:
        return
