"""The whole dataset: books, tars, parts, keys and index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from energon_prep.device.devices import num_cpus
from energon_prep.errors import PrepError
from energon_prep.indexing.meta import SQLITE
from energon_prep.indexing.records import RunTarget, ledger_counts, ledger_problems, read_target
from energon_prep.indexing.scan import KeyRegister
from energon_prep.indexing.tars import Listing, list_tars
from energon_prep.layout import EMPTY_CAPTION, LEDGER_DIR, LEDGER_HEAD, META_DIR, RUN, shard_stem
from energon_prep.options import nearest_named
from energon_prep.plugins import refuse_other_module
from energon_prep.progress import counted
from energon_prep.run.destination import set_aside
from energon_prep.shards.ledger import LedgerEntry, read_ledger
from energon_prep.storage import LocalStorage, dataset_folder, refuse_special
from energon_prep.targets import get_target
from energon_prep.verifying.accounts import Books, Broken, totals
from energon_prep.verifying.caption import caption_problems, contract_problem
from energon_prep.verifying.checksums import checksum_problems, plan_fits
from energon_prep.verifying.index import IndexCheck, check_index
from energon_prep.verifying.marking import Damage, lost_tars, unreadable_entries
from energon_prep.verifying.pool import check_shards
from energon_prep.verifying.problems import Problems
from energon_prep.verifying.report import VerifyReport
from energon_prep.verifying.shard import ShardTask, check_shard, glance
from energon_prep.verifying.source import source_of, with_source

_MOST = 100  #: problems kept of a dataset
_PER_WORKER = 2**30  #: bytes of tars that are worth the start of a process
_FOREIGN = (
    "energon-prep did not write this dataset: there is no ledger to hold sizes, hashes and "
    "totals against"
)

#: Called with (tars checked, tars in all) after each tar.
Progress = Callable[[int, int], None]


@nearest_named
def verify(
    dest: str | Path = ".",
    *,
    deep: bool = True,
    mark_bad: bool = False,
    target: str | None = None,
    source: str | Path | None = None,
    workers: int | None = None,
    progress: bool | Progress | None = None,
) -> VerifyReport:
    """Hold everything in ``dest`` against the ledger, the index and, if ``deep``, the trainer's
    contract.

    Not ``deep``: sizes, counts, ledger, rejects and index, and no tar of ours is opened. ``deep``:
    every byte is read and hashed, every part decoded safely and checked, every key looked up.
    ``mark_bad``: what is damaged, and can be made again, is set aside, so that the same ``encode``
    makes just that again.

    ``target``: the contract, by default that of run.json, a name or ``package.module:Class``;
    needed for a dataset that energon-prep did not write, which has no ledger to be held against.
    ``source``: what the dataset was made of, wherever that lies by now; all its samples are read
    again, and compared with the digests in the ledger. A dataset that is not indexed yet is no
    failure: a note says so. ``workers``: processes that read tars, by default one for each GiB to
    be read; a script that may get several needs the ``__main__`` guard. ``progress``: shown on
    stderr, or called with (tars checked, tars in all), and then of the source with (shards read,
    shards in all); by default shown in a notebook.

    Returns a VerifyReport, in which is what is wrong. PrepError is raised only where there is no
    dataset or no such ``source``, for an unknown ``target``, if a worker dies, and if ``mark_bad``
    cannot be done.
    """
    root = dataset_folder(dest)
    if not root.is_dir():
        raise PrepError(f"{dest} is not a folder: give the dataset's folder")
    refuse_special(root)
    if workers is not None and workers < 1:
        raise PrepError(f"workers {workers}: give 1 or more")
    if target is not None:
        get_target(target)
    if mark_bad and not (root / LEDGER_DIR).is_dir():
        raise PrepError(
            f"--mark-bad: energon-prep did not write {dest}, and cannot make its tars again"
        )
    made_of = None if source is None else source_of(root, source)
    workers = workers or (_enough_workers(root) if deep else 1)
    with counted("verify", progress) as on_change:
        run = _Verification(root, deep=deep, workers=workers, progress=on_change)
        report = run.marking(target) if mark_bad else run.report(target)
    if made_of is None:
        return report
    with counted("verify --source", progress) as on_change:
        return with_source(report, root, made_of, progress=on_change)


def _enough_workers(root: Path) -> int:
    """A process for every GiB, as many as there are processors."""
    total = sum(path.stat().st_size for path in root.glob("*.tar") if path.is_file())
    return max(1, min(num_cpus(), total // _PER_WORKER))


class _Verification:
    """One way through a dataset."""

    def __init__(self, root: Path, *, deep: bool, workers: int, progress: Progress | None) -> None:
        self._root = root
        self._deep = deep
        self._workers = workers
        self._progress = progress
        self._notes: list[str] = []
        self.problems = Problems(_MOST)
        self.damage = Damage()

    def marking(self, target: str | None) -> VerifyReport:
        """The report, after which what is damaged lies aside."""
        storage = LocalStorage(self._root)
        with storage.locked():
            for index, problem in unreadable_entries(self._root):
                self.problems.add(f"{LEDGER_DIR}/{shard_stem(index)}.json: {problem}")
                set_aside(storage, index)
                self.damage.add(index)
            report = self.report(target)
            return replace(report, marked=self.damage.set_aside(storage))

    def report(self, target: str | None) -> VerifyReport:
        listing = list_tars(self._root)
        entries = recorded = None
        books = None
        if is_ours(self._root):
            entries, recorded = self._read_ledger(), self._read_target(target)
            target = target or (None if recorded is None else recorded.name)
            if entries is not None:
                books = Books(root=self._root, entries=entries, tars=frozenset(listing.tars))
            self._check_books(listing, books, recorded)
        else:
            _require_foreign(self._root, listing, target, deep=self._deep)
            self._notes.append(_FOREIGN)
        index = self._check_index(listing, entries, recorded)
        tasks = _tasks(self._root, listing, books, index, target)
        samples, parts = self._check_tars(tasks)
        rest = self.problems.count - len(self.problems.kept)
        return VerifyReport(
            ok=not self.problems.count,
            shards=len(tasks),
            samples=samples,
            parts=parts,
            problems=(*self.problems.kept, *([f"and {rest} more"] if rest else [])),
            num_problems=self.problems.count,
            notes=tuple(self._notes),
            accounted={} if entries is None else totals(entries),
            deep=self._deep,
            repairable=self.damage.found,
        )

    def _read_ledger(self) -> list[LedgerEntry] | None:
        try:
            entries = read_ledger(self._root)
            if entries is None:
                self.problems.add(
                    f"{LEDGER_DIR}: the ledger is missing, and sizes, hashes and totals were not "
                    "checked: restore it, or run the same encode again, which makes all shards anew"
                )
            return entries
        except PrepError as error:
            self.problems.add(
                f"the ledger cannot be read, and sizes, hashes and totals were not checked: {error}"
            )
            self.damage.found = True
            return None

    def _read_target(self, asked: str | None) -> RunTarget | None:
        """The target of run.json, which may be a stranger's: only what the user ``asked`` for is
        taken unseen.
        """
        try:
            recorded = read_target(self._root)
            if recorded.name != asked:
                refuse_other_module("target", recorded.name, recorded.plugin, outside=self._root)
            get_target(recorded.name)
        except PrepError as error:
            self.problems.add(f"the contract is not known, and was not checked: {error}")
            return None
        return recorded

    def _check_books(
        self, listing: Listing, books: Books | None, recorded: RunTarget | None
    ) -> None:
        """What the records of a dataset of ours show without opening a tar."""
        entries = None if books is None else books.entries
        if books is not None:
            self.problems.extend(ledger_problems(self._root, books.entries, listing))
            for index in lost_tars(LocalStorage(self._root), books.entries):
                self.damage.add(index)
            self._add_all(books.problems(plan_fits=plan_fits(self._root)))
        target = None if recorded is None else get_target(recorded.name)
        names = () if target is None else tuple(target.caption_files)
        if recorded is not None and recorded.made_up:
            self._notes.append(recorded.made_up)
        altered = list(checksum_problems(self._root, entries, names))
        told = {broken for _, broken in altered if broken is not None}
        self._add_all(altered)
        of_captions = [] if EMPTY_CAPTION in told else caption_problems(self._root, target)
        self._add_all((problem, broken) for problem, broken in of_captions if broken not in told)
        tars = sorted(ledger_counts(entries or ()))
        if self._deep and target is not None and tars and EMPTY_CAPTION not in told:
            problem = contract_problem(self._root, target, tars)
            self._add_all([(problem, EMPTY_CAPTION)] if problem else [])

    def _add_all(self, found: Iterable[tuple[str, Broken | None]]) -> None:
        for problem, broken in found:
            self._add(problem, broken)

    def _add(self, problem: str, broken: Broken | None) -> None:
        self.problems.add(problem)
        if broken is not None:
            self.damage.add(broken)

    def _check_index(
        self, listing: Listing, entries: Sequence[LedgerEntry] | None, recorded: RunTarget | None
    ) -> IndexCheck:
        needed = {} if recorded is None else recorded.subflavors
        tars = listing.tars if entries is None else tuple(ledger_counts(entries))
        index = check_index(self._root, tars, entries, needed, deep=self._deep)
        self._notes += index.notes
        self.problems.extend(index.problems)
        if index.shards is None:
            self._notes.append("the dataset is not indexed yet: run energon-prep index")
        elif not (self._root / META_DIR / SQLITE).exists():
            self._notes.append(
                f"there is no {SQLITE}: training in sequence does not need it, joins and "
                "random access do"
            )
        return index

    def _check_tars(self, tasks: Sequence[ShardTask]) -> tuple[int, int]:
        """Check every tar; return how many samples and parts they have."""
        samples = parts = 0
        check_one = check_shard if self._deep else glance
        with closing(KeyRegister()) as register:
            for number, check in enumerate(
                check_shards(tasks, check_one, workers=self._workers), 1
            ):
                samples += check.samples
                parts += check.parts
                self.damage.add_check(check)
                self.problems.merge(check.problems, check.num_problems)
                self.problems.extend(register.add(check.tar, check.keys))
                if self._progress is not None:
                    self._progress(number, len(tasks))
        return samples, parts


def _require_foreign(root: Path, listing: Listing, target: str | None, *, deep: bool) -> None:
    if not listing.tars:
        raise PrepError(f"{root} has no .tar files: give a dataset's folder, or run encode first")
    if target is None and deep:
        raise PrepError(
            f"{root} was not written by energon-prep: name the trainer's contract to check "
            "with --target"
        )


def is_ours(root: Path) -> bool:
    """Whether energon-prep wrote a dataset: any of its records is there, whatever became of the
    others.
    """
    return any((root / name).exists() for name in (LEDGER_DIR, LEDGER_HEAD, RUN))


def _tasks(
    root: Path, listing: Listing, books: Books | None, index: IndexCheck, target: str | None
) -> list[ShardTask]:
    """The tars that are there; of a dataset of ours those in the ledger (strays were told)."""
    known = None if books is None else {entry.shard: entry for entry in books.entries}
    planned = {} if books is None else books.planned
    ids = {tar: number for number, tar in enumerate(index.shards or {})}
    return [
        ShardTask(
            root=root,
            tar=tar,
            target=target,
            entry=None if known is None else known[tar],
            planned=None if known is None else planned.get(known[tar].index),
            tar_file_id=ids.get(tar),
            num_indexed=(index.shards or {}).get(tar),
            has_sqlite=index.has_sqlite,
        )
        for tar in listing.tars
        if known is None or tar in known
    ]
