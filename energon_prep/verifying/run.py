"""Station 8, verifying: the whole dataset: books, tars, parts, keys and index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cookers.safe import DecodeError, load_pickle
from energon_prep.errors import PrepError
from energon_prep.indexing.tars import Listing, list_tars
from energon_prep.indexing.vouched import ledger_counts, ledger_problems, read_target
from energon_prep.shards.ledger import LEDGER_DIR, LedgerEntry, read_ledger
from energon_prep.storage import PRIVATE_DIR
from energon_prep.targets import get_target
from energon_prep.verifying.accounts import account_problems, totals
from energon_prep.verifying.index import IndexCheck, check_index
from energon_prep.verifying.keys import KeyRegister
from energon_prep.verifying.pool import check_shards
from energon_prep.verifying.problems import Problems
from energon_prep.verifying.shard import ShardTask

_MOST = 100  #: problems kept of a dataset
_EMPTY_CAPTION = f"{PRIVATE_DIR}/empty_caption.pickle"

#: Called with (tars checked, tars in all) after each tar.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What was found."""

    ok: bool
    shards: int  #: tars opened
    samples: int
    parts: int
    problems: tuple[str, ...]  #: the first 100, then how many more there are
    num_problems: int
    notes: tuple[str, ...]  #: what was not checked, and why
    accounted: dict[str, int]  #: samples planned, written and rejected; empty for a dataset of others

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def verify(
    dest: str | Path, *, target: str | None = None, workers: int = 1, progress: Progress | None = None
) -> VerifyReport:
    """Reopen everything in ``dest`` and hold it against the ledger, the index and the trainer's contract.

    ``target``: the contract, by default that of run.json; needed for a dataset that energon-prep did not write, which
    has no ledger to be held against. A dataset that is not indexed yet is no failure: a note says so. ``workers``:
    processes that read tars. What is wrong is in the report; PrepError is raised only where there is no dataset, for
    an unknown ``target``, and if a worker dies.
    """
    root = Path(dest).absolute()
    if not root.is_dir():
        raise PrepError(f"{dest} is not a folder: give the dataset's folder")
    if workers < 1:
        raise PrepError(f"workers {workers}: give 1 or more")
    if target is not None:
        get_target(target)
    problems = Problems(_MOST)
    listing = list_tars(root)
    if (root / LEDGER_DIR).is_dir():
        entries = _read_ledger(root, problems)
        target = target or _read_target(root, problems)
        problems.extend(_ours_problems(root, listing, entries))
        notes = []
    else:
        _require_foreign(root, listing, target)
        entries = None
        notes = ["energon-prep did not write this dataset: there is no ledger to hold sizes, hashes and totals against"]
    vouched = None if entries is None else ledger_counts(entries)
    index = check_index(root, listing.tars if vouched is None else tuple(vouched), vouched)
    problems.extend(index.problems)
    if index.shards is None:
        notes.append("the dataset is not indexed yet: run energon-prep index")
    tasks = _tasks(root, listing, entries, index, target)
    samples, parts = _check_tars(tasks, problems, workers=workers, progress=progress)
    rest = problems.count - len(problems.kept)
    return VerifyReport(
        ok=not problems.count,
        shards=len(tasks),
        samples=samples,
        parts=parts,
        problems=(*problems.kept, *([f"and {rest} more"] if rest else [])),
        num_problems=problems.count,
        notes=tuple(notes),
        accounted=totals(entries) if entries is not None else {},
    )


def _require_foreign(root: Path, listing: Listing, target: str | None) -> None:
    if not listing.tars:
        raise PrepError(f"{root} has no .tar files: give a dataset's folder, or run encode first")
    if target is None:
        raise PrepError(f"{root} was not written by energon-prep: name the trainer's contract to check with --target")


def _read_ledger(root: Path, problems: Problems) -> list[LedgerEntry] | None:
    try:
        return read_ledger(root)
    except PrepError as error:
        problems.add(f"the ledger cannot be read, and sizes, hashes and totals were not checked: {error}")
        return None


def _read_target(root: Path, problems: Problems) -> str | None:
    try:
        name = read_target(root).name
        get_target(name)
    except PrepError as error:
        problems.add(f"the contract is not known, and was not checked: {error}")
        return None
    return name


def _ours_problems(root: Path, listing: Listing, entries: Sequence[LedgerEntry] | None) -> Iterator[str]:
    """What the records of a dataset of ours show without opening a tar."""
    if entries is not None:
        yield from ledger_problems(root, entries, listing)
        yield from account_problems(root, entries)
    caption = root / _EMPTY_CAPTION
    if caption.exists():
        try:
            load_pickle(caption.read_bytes())
        except DecodeError as error:
            yield f"{_EMPTY_CAPTION}: {error}"


def _tasks(
    root: Path, listing: Listing, entries: Sequence[LedgerEntry] | None, index: IndexCheck, target: str | None
) -> list[ShardTask]:
    """The tars that are there; of a dataset of ours those in the ledger (strays were told)."""
    known = None if entries is None else {entry.shard: entry for entry in entries}
    ids = {tar: number for number, tar in enumerate(index.shards or {})}
    return [
        ShardTask(
            root=root,
            tar=tar,
            target=target,
            entry=None if known is None else known[tar],
            tar_file_id=ids.get(tar),
            has_sqlite=index.has_sqlite,
        )
        for tar in listing.tars
        if known is None or tar in known
    ]


def _check_tars(
    tasks: Sequence[ShardTask], problems: Problems, *, workers: int, progress: Progress | None
) -> tuple[int, int]:
    """Check every tar; return how many samples and parts they have."""
    samples = parts = 0
    with closing(KeyRegister()) as register:
        for number, check in enumerate(check_shards(tasks, workers=workers), 1):
            samples += len(check.keys)
            parts += check.parts
            problems.merge(check.problems, check.num_problems)
            problems.extend(register.add(check.tar, check.keys))
            if progress is not None:
                progress(number, len(tasks))
    return samples, parts
