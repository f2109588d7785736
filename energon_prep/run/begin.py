"""A run begins: the source is planned or held against what is there, and the run is entered into
its destination.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from energon_prep.errors import PrepError
from energon_prep.executors.base import Executor
from energon_prep.executors.job import Job
from energon_prep.layout import PLAN, RUN
from energon_prep.pipeline.tally import Profile, Tally
from energon_prep.plan.changes import compare_plan
from energon_prep.plan.shards import PlanSummary, make_plan, write_plan
from energon_prep.run import start
from energon_prep.run.changes import Finished, decide
from energon_prep.run.destination import unless_begun_forgotten
from energon_prep.run.request import Request
from energon_prep.shards.head import forget_entries, note_files, read_head
from energon_prep.shards.ledger import LedgerEntry, finished, retract, unread_serials, write_entry
from energon_prep.sources.account import Account
from energon_prep.storage import LocalStorage
from energon_prep.targets.caption_files import caption_file_names

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Run:
    """A dataset that is being made: what was asked for, then what was begun, and what has become of
    it.
    """

    request: Request
    job: Job
    storage: LocalStorage
    tally: Tally
    old: dict[str, Any] | None  #: run.json as it was found
    run: dict[str, Any] = field(default_factory=dict)  #: run.json as it is to be
    account: Account = field(default_factory=Account)
    plan: PlanSummary = field(default_factory=lambda: PlanSummary(split={}))
    done: dict[int, LedgerEntry] = field(default_factory=dict)  #: shards of earlier runs
    made: dict[int, LedgerEntry] = field(default_factory=dict)  #: shards of this run
    is_complete: bool = False  #: there is nothing left to do, and no model was loaded
    seconds: float = 0.0  #: of work
    profile: Profile = field(default_factory=Profile)


def begin(run: Run, executor: Executor, *, retry_rejects: bool, update: bool) -> None:
    """Plan the source and enter the run into its destination, which is locked.

    ``retry_rejects``: a shard in which samples could not be read is not finished; it stays as it is
    until it is published anew, under the same serials. ``update``: nor is one that was made of what
    has changed in the source. Raises PrepError for a destination that was begun with something
    else, before any model is loaded as far as that can be told without.
    """
    request = run.request
    start.refuse_other_start(run.storage, run.old, request.source, request.recipe, request.cut)
    with unless_begun_forgotten(run.storage):
        if run.old is None:
            _plan(run)
        else:
            _plan_again(run, run.old, executor, retry_rejects=retry_rejects, update=update)
        _enter(run, executor)


def _plan(run: Run) -> None:
    """Plan the source's listing and store that."""
    shards = make_plan(run.request.source, run.request.cut, run.account)
    run.plan = write_plan(
        run.storage, shards, lambda shard: run.tally.add_planned(shard.num_samples)
    )
    _require_samples(run)


def _plan_again(
    run: Run, old: Mapping[str, Any], executor: Executor, *, retry_rejects: bool, update: bool
) -> None:
    """Hold the source's listing against the stored plan, and find what is finished of it."""
    request, storage = run.request, run.storage
    shards = make_plan(request.source, request.cut, run.account)
    with closing(compare_plan(storage, shards)) as changes:
        run.plan = changes.summary
        _require_samples(run)
        run.tally.add_planned(run.plan.num_samples)
        done = _finished(storage)
        if retry_rejects:
            done = _without_unread(done)
        known = Finished(
            entries=done,
            unread=partial(unread_serials, storage),
            plan=lambda: make_plan(request.source, request.cut),
            source=request.source,
            workers=run.job.workers,
        )
        is_moved = old["source"].get("root") != run.job.source.get("root")
        decision = decide(changes, known, is_moved=is_moved, update=update)
        done |= {entry.index: entry for entry in decision.renewed}
        run.done = {i: entry for i, entry in done.items() if i not in decision.remake}
        if decision.remake:
            executor.load(start.recorded_sizes(old))  # before anything of theirs is given up
        for entry in decision.renewed:
            write_entry(storage, entry)
        for index in decision.remake:  # before the new plan, which would vouch for them
            retract(storage, index)
        changes.publish()


def _enter(run: Run, executor: Executor) -> None:
    """Load the models if anything is left to do, and enter the run into its destination."""
    request, storage, old = run.request, run.storage, run.old
    for entry in run.done.values():
        run.tally.add_finished(entry)
    files = caption_file_names(request.target)
    run.is_complete = (
        old is not None and len(run.done) == run.plan.num_shards and all(map(storage.exists, files))
    )
    run.run = old or {}
    if run.run and run.run["source"] != run.job.source:
        run.run = {**run.run, "source": run.job.source}
    if old is not None:
        start.refuse_other_models(storage, old, run.job, needed=not run.is_complete)
    if not run.is_complete:
        ready = executor.load(start.recorded_sizes(old))
        run.run = start.describe(run.job, ready, request.target, request.cut)
        start.enter(run.run, old, storage, caption_files=ready.caption_files)
        forget_entries(storage, run.done)
    if old is not None:
        note_files(storage, (RUN, *files))
        note_files(storage, (PLAN,), again=True)  # which was held against the source just now


def _finished(storage: LocalStorage) -> dict[int, LedgerEntry]:
    """The finished shards of this dataset; one whose entry is not the one that was written is made
    again.
    """
    head = read_head(storage)
    done = finished(storage)
    return done if head is None else {i: e for i, e in done.items() if head.fits_entry(e)}


def _require_samples(run: Run) -> None:
    if not run.plan.num_shards:
        source = run.request.source.describe().get("root", "the source")
        raise PrepError(f"{source} has no samples to encode")


def _without_unread(done: Mapping[int, LedgerEntry]) -> dict[int, LedgerEntry]:
    """The finished shards of which every sample could be read; the others are told."""
    kept = {index: entry for index, entry in done.items() if not entry.num_unread}
    if len(kept) < len(done):
        num_unread = sum(entry.num_unread for entry in done.values())
        log.warning(
            "%d samples that could not be read are tried again: %d of %d finished shards are made "
            "again, and an index of them has to be",
            num_unread,
            len(done) - len(kept),
            len(done),
        )
    return kept
