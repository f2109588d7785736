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
from energon_prep.executors.base import Executor, Ready
from energon_prep.executors.job import Job
from energon_prep.layout import BAD_DIR, PLAN, RUN
from energon_prep.pipeline.tally import Profile, Tally
from energon_prep.plan.changes import Changes, compare_plan
from energon_prep.plan.growth import grow_plan
from energon_prep.plan.shards import PlanSummary, make_plan, write_plan
from energon_prep.run import start
from energon_prep.run.changes import Finished, counted, decide
from energon_prep.run.destination import forget_plan, unless_begun_forgotten
from energon_prep.run.manifest import write_run
from energon_prep.run.request import Request
from energon_prep.shards.head import expect_file, forget_entries, note_files, read_head
from energon_prep.shards.ledger import LedgerEntry, finished, retract, unread_serials, write_entry
from energon_prep.sources.account import Account
from energon_prep.sources.base import Source
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
    ready: Ready | None = None  #: of the models, where they are loaded
    run: dict[str, Any] = field(default_factory=dict)  #: run.json as it is to be
    account: Account = field(default_factory=Account)
    plan: PlanSummary = field(default_factory=lambda: PlanSummary(split={}))
    extends: bool = False  #: new samples are planned behind those of earlier runs
    num_new: int = 0  #: of them
    done: dict[int, LedgerEntry] = field(default_factory=dict)  #: shards of earlier runs
    made: dict[int, LedgerEntry] = field(default_factory=dict)  #: shards of this run
    is_complete: bool = False  #: there is nothing left to do, and no model was loaded
    seconds: float = 0.0  #: of work
    profile: Profile = field(default_factory=Profile)


@dataclass(frozen=True, kw_only=True)
class GoOn:
    """How a run goes on in a destination that an earlier one began."""

    #: A shard in which samples could not be read is not finished; it stays as it is until it is
    #: published anew, under the same serials.
    retry_rejects: bool = False
    update: bool = False  #: nor is one that was made of what has changed in the source
    extend: bool = False  #: what is new in the source is planned behind the rest


def begin(run: Run, executor: Executor, go_on: GoOn) -> None:
    """Plan the source and enter the run into its destination, which is locked.

    Raises PrepError for a destination that was begun with something else, before any model is
    loaded as far as that can be told without.
    """
    request = run.request
    start.refuse_other_start(run.storage, run.old, request.source, request.recipe, request.cut)
    with unless_begun_forgotten(run.storage):
        if run.old is None:
            forget_plan(run.storage)
            _plan(run)
        else:
            _plan_again(run, run.old, executor, go_on)
        _enter(run, executor)


def _plan(run: Run) -> None:
    """Plan the source's listing and store that."""
    shards = make_plan(run.request.source, run.request.cut, run.account)
    run.plan = write_plan(
        run.storage, shards, lambda shard: run.tally.add_planned(shard.num_samples)
    )
    require_samples(run.request.source, run.plan.num_shards)


def _plan_again(run: Run, old: dict[str, Any], executor: Executor, go_on: GoOn) -> None:
    """Hold the source's listing against the stored plan, and find what is finished of it."""
    request, storage = run.request, run.storage
    extend = go_on.extend or start.is_raised(old, request.cut.limit)
    with closing(_compare(run, old, extend=extend)) as changes:
        run.plan, run.extends, run.num_new = changes.summary, extend, changes.num_new
        if not changes.num_gone:
            require_samples(run.request.source, run.plan.num_shards)
        run.tally.add_planned(run.plan.num_samples)
        done = _finished(storage)
        if go_on.retry_rejects:
            done = _without_unread(done)
        known = Finished(
            entries=done,
            unread=partial(unread_serials, storage),
            plan=lambda: (
                changes.known() if changes.by_sample else make_plan(request.source, request.cut)
            ),
            source=request.source,
            workers=run.job.workers,
        )
        is_moved = old["source"].get("root") != run.job.source.get("root")
        decision = decide(changes, known, is_moved=is_moved, update=go_on.update, extend=extend)
        done |= {entry.index: entry for entry in decision.renewed}
        again = decision.remake | {index for index in done if index == changes.refilled}
        run.done = {index: entry for index, entry in done.items() if index not in again}
        if again or changes.num_new:  # before anything of theirs is given up
            start.refuse_other_run(storage, old, _described(run, _loaded(run, executor)))
        if changes.num_new:
            _tell_new(changes)
            run.old = {**old, "extended": True}
            write_run(storage, run.old)
        for entry in decision.renewed:
            write_entry(storage, entry)
        for index in again:  # before the new plan, which would vouch for them
            retract(storage, index)
        if changes.differ:
            expect_file(storage, PLAN, changes.sha256)
            changes.publication.publish()


def _compare(run: Run, old: Mapping[str, Any], *, extend: bool) -> Changes:
    """The stored plan against the source: shard by shard while it is as it was, or else sample by
    sample.
    """
    request, storage = run.request, run.storage
    source, cut = request.source, request.cut
    is_there = storage.exists(PLAN)
    is_grown = old.get("extended", False) or cut.limit != old["cut"].get("limit")
    if is_grown and not is_there:
        raise PrepError(
            f"{PLAN} is lost, and of a dataset that was extended, or is to be with another "
            "--limit, no listing of the source gives it again: restore it (verify --mark-bad moves "
            f"it to {BAD_DIR}), write to another destination, or start over with --overwrite"
        )
    if not is_there or not (extend or is_grown):
        changes = compare_plan(storage, make_plan(source, cut, run.account))
        if not (changes.is_other and is_there):
            return changes
        changes.close()
        run.account = Account()  # it is listed anew
    return grow_plan(storage, source, cut, run.account)


def _tell_new(changes: Changes) -> None:
    log.warning(
        "%s, first %s, planned behind the %d that were there%s",
        counted(changes.num_new, "new sample"),
        changes.first_new,
        changes.summary.num_samples - changes.num_new,
        ""
        if changes.refilled is None
        else f"; shard {changes.refilled}, which was short, is made with the first of them",
    )


def _loaded(run: Run, executor: Executor) -> Ready:
    """Load the models, once. Raises PrepError for others than those of the run before, as far as
    that can be told without.
    """
    if run.ready is None:
        if run.old is not None:
            start.refuse_other_models(run.storage, run.old, run.job, needed=True)
        run.ready = executor.load(start.recorded_sizes(run.old))
    return run.ready


def _described(run: Run, ready: Ready) -> dict[str, Any]:
    """run.json as it is to be, but for the totals."""
    is_extended = run.old is not None and "extended" in run.old
    request = run.request
    return start.describe(run.job, ready, request.target, request.cut, is_extended=is_extended)


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
    as_asked = {"source": run.job.source, "cut": start.describe_cut(request.cut)}
    if run.run and any(run.run[name] != value for name, value in as_asked.items()):
        run.run = {**run.run, **as_asked}
    if old is not None and run.is_complete:
        start.refuse_other_models(storage, old, run.job, needed=False)
    if not run.is_complete:
        ready = _loaded(run, executor)
        run.run = _described(run, ready)
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


def require_samples(source: Source, num_shards: int) -> None:
    """Raise PrepError for a plan without shards."""
    if not num_shards:
        raise PrepError(f"{source.describe().get('root', 'the source')} has no samples to encode")


def _without_unread(done: Mapping[int, LedgerEntry]) -> dict[int, LedgerEntry]:
    """The finished shards of which every sample could be read; the others are told."""
    kept = {index: entry for index, entry in done.items() if not entry.num_unread}
    if len(kept) < len(done):
        num_unread = sum(entry.num_unread for entry in done.values())
        log.warning(
            "%d samples that could not be read are tried again: %d of %d finished shards are made "
            "again",
            num_unread,
            len(done) - len(kept),
            len(done),
        )
    return kept
