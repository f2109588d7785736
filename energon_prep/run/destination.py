"""What of a destination is ours, how it is emptied for a new start, and what is damaged set
aside.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from energon_prep.errors import PrepError, UsageError
from energon_prep.indexing.meta import index_files
from energon_prep.layout import (
    BAD_DIR,
    EMPTY_CAPTION,
    LEDGER_DIR,
    LEDGER_HEAD,
    PLAN,
    REJECTS_DIR,
    RUN,
    SUSPECTS,
    entry_name,
    idx_name,
    rejects_name,
    rows_name,
    shard_index,
    tar_name,
)
from energon_prep.plan.shards import read_plan
from energon_prep.shards.head import read_head
from energon_prep.storage import LocalStorage, Storage, refuse_linked_folder
from energon_prep.targets import TARGETS, Target, get_target
from energon_prep.targets.caption_files import caption_file_names

#: Of a shard; the ledger's entry comes first.
_SHARD_FILES = (entry_name, tar_name, idx_name, rows_name, rejects_name)


def refuse_foreign(storage: Storage, *, where: str) -> None:
    """Raise UsageError if there are tars in a destination that no run of ours began: they would end
    up in its index.
    """
    tars = _tars(storage)
    if tars:
        raise UsageError(
            f"{where} holds {len(tars)} tars that energon-prep did not write ({tars[0]}, ...): "
            "give an empty or a new destination"
        )


def _tars(storage: Storage) -> list[str]:
    return [name for name in storage.names(".") if name.endswith((".tar", ".tgz"))]


def forget_plan(storage: Storage) -> None:
    """Remove the plan of a run that never began: without run.json nothing says what it was a plan
    of.
    """
    storage.remove(PLAN)


@contextmanager
def unless_begun_forgotten(storage: Storage) -> Iterator[None]:
    """Where an error keeps a run from its beginning, its plan is removed again."""
    try:
        yield
    except BaseException:
        if not storage.exists(RUN):
            forget_plan(storage)
        raise


def clear(storage: LocalStorage, target: Target) -> None:
    """Remove a dataset of ours: what its ledger and its plan name, and nothing else.

    Raises PrepError for what would be in the way of ``target``'s new one and is not ours to remove,
    before anything is removed. The ledger goes first and run.json last: cut short, this leaves a
    dataset that lacks shards and knows it.
    """
    if not storage.exists(RUN):
        return
    shards = sorted(_named_shards(storage))
    captions = sorted(_named_captions(storage, target))
    _refuse_strangers(storage, set(map(tar_name, shards)))
    for index in shards:
        storage.remove(entry_name(index))
    for index in shards:
        for name_of in _SHARD_FILES:
            storage.remove(name_of(index))
    lie_aside = {named(index).rpartition("/")[2] for index in shards for named in _SHARD_FILES}
    lie_aside |= {name.rpartition("/")[2] for name in (*captions, PLAN, LEDGER_HEAD)}
    for name in storage.names(BAD_DIR):
        if name in lie_aside:
            storage.remove(f"{BAD_DIR}/{name}")
    for path in index_files(storage.root):
        storage.remove(path.relative_to(storage.root).as_posix())
    for name in (*captions, SUSPECTS, LEDGER_HEAD, PLAN, RUN):
        storage.remove(name)


def _named_shards(storage: LocalStorage) -> set[int]:
    """Indexes of the shards in ledger and plan; a damaged plan names those that can be read."""
    names = storage.names(LEDGER_DIR)
    shards = {index for name in names if (index := shard_index(name)) is not None}
    with suppress(FileNotFoundError, PrepError):
        for shard in read_plan(storage):
            shards.add(shard.index)
    return shards


def _named_captions(storage: LocalStorage, target: Target) -> set[str]:
    """The empty caption's files that the ledger's head names, if a target has such files."""
    known = {
        name for one in (*map(get_target, TARGETS), target) for name in caption_file_names(one)
    }
    try:
        head = read_head(storage)
    except PrepError:
        head = None
    return {EMPTY_CAPTION} | (known & (head.files.keys() if head is not None else set()))


def _refuse_strangers(storage: LocalStorage, ours: set[str]) -> None:
    strangers = [name for name in _tars(storage) if name not in ours]
    if strangers:
        raise PrepError(
            f"{storage.root} holds {len(strangers)} tars that are not of this dataset "
            f"({strangers[0]}, ...): move them away, --overwrite removes only what its ledger and "
            "its plan name"
        )
    for folder in (LEDGER_DIR, REJECTS_DIR, BAD_DIR):
        refuse_linked_folder(storage.root, f"{folder}/")


def set_aside(storage: LocalStorage, index: int) -> None:
    """Move a damaged shard out of the dataset, whose next ``encode`` makes it again.

    The ledger's entry goes first: cut short, this leaves a tar that nothing vouches for, and that
    is replaced.
    """
    for name_of in _SHARD_FILES:
        set_file_aside(storage, name_of(index))


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
    refuse_linked_folder(storage.root, name)
    aside = storage.root / BAD_DIR / name.rpartition("/")[2]
    aside.parent.mkdir(parents=True, exist_ok=True)
    try:
        (storage.root / name).replace(aside)
    except FileNotFoundError:
        return
