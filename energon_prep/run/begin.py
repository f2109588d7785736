"""A run begins: the source is planned or held against what is there, and the run is entered into
its destination.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from energon_prep.errors import PrepError
from energon_prep.executors.base import Executor
from energon_prep.executors.job import Job
from energon_prep.layout import PLAN, RUN
from energon_prep.pipeline.tally import Profile, Tally
from energon_prep.plan.changes import compare_plan
from energon_prep.plan.shards import PlanSummary, make_plan, write_plan
from energon_prep.run import start
from energon_prep.run.changes import changed_shards
from energon_prep.run.request import Request
from energon_prep.shards.head import forget_entries, note_files, read_head
from energon_prep.shards.ledger import LedgerEntry, finished, retract
from energon_prep.sources.account import Account
from energon_prep.storage import LocalStorage
from energon_prep.targets.caption_files import caption_file_names

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Run:
    """A dataset that is being made: what was begun, and what has become of it."""

    request: Request
    job: Job
    storage: LocalStorage
    old: dict[str, Any] | None  #: run.json as it was found
    run: dict[str, Any]  #: run.json as it is to be
    plan: PlanSummary
    account: Account
    tally: Tally
    done: frozenset[int]  #: shards that earlier runs finished
    is_complete: bool  #: there is nothing left to do, and no model was loaded
    seconds: float = 0.0  #: of work
    profile: Profile = field(default_factory=Profile)


def begin(
    request: Request,
    job: Job,
    storage: LocalStorage,
    executor: Executor,
    old: dict[str, Any] | None,
    tally: Tally,
    *,
    retry_rejects: bool = False,
    update: bool = False,
) -> Run:
    """Plan the source and enter the run into its destination, which is locked; ``old``: its
    run.json, if it goes on. ``retry_rejects``: a shard in which samples could not be read is not
    finished; it stays as it is until it is published anew, under the same serials. ``update``: nor
    is one that was made of what has changed in the source.

    Raises PrepError for a destination that was begun with something else, before any model is
    loaded as far as that can be told without.
    """
    start.refuse_other_start(storage, old, request.source, request.recipe, request.cut)
    account = Account()
    if old is None:
        plan = _require_samples(_new_plan(request, storage, tally, account), request)
        return _enter(request, job, storage, executor, None, tally, plan, account, {})
    with closing(compare_plan(storage, make_plan(request.source, request.cut, account))) as changes:
        plan = _require_samples(changes.summary, request)
        tally.add_planned(plan.num_samples)
        done = _finished(storage)
        if retry_rejects:
            done = _without_unread(done)
        changed = changed_shards(
            changes,
            make_plan(request.source, request.cut),
            done,
            request.source,
            is_moved=old["source"].get("root") != job.source.get("root"),
            update=update,
            workers=job.workers,
        )
        done = {index: entry for index, entry in done.items() if index not in changed}
        if changed:
            executor.load(start.recorded_sizes(old))  # before anything of theirs is given up
        for index in changed:  # before the new plan, which would vouch for them
            retract(storage, index)
        changes.publish()
    return _enter(request, job, storage, executor, old, tally, plan, account, done)


def _enter(
    request: Request,
    job: Job,
    storage: LocalStorage,
    executor: Executor,
    old: dict[str, Any] | None,
    tally: Tally,
    plan: PlanSummary,
    account: Account,
    done: Mapping[int, LedgerEntry],
) -> Run:
    """Load the models if anything is left to do, and enter the run into its destination."""
    for entry in done.values():
        tally.add_finished(entry)
    files = caption_file_names(request.target)
    is_complete = (
        old is not None and len(done) == plan.num_shards and all(map(storage.exists, files))
    )
    run = old or {}
    if run and run["source"] != job.source:
        run = {**run, "source": job.source}
    if not is_complete:
        ready = executor.load(start.recorded_sizes(old))
        run = start.describe(job, ready, request.target, request.cut)
        start.begin(run, old, storage, caption_files=ready.caption_files)
        forget_entries(storage, done)
    note_files(storage, (RUN, *files))
    note_files(storage, (PLAN,), again=True)  # which was held against the source just now
    return Run(
        request=request,
        job=job,
        storage=storage,
        old=old,
        run=run,
        plan=plan,
        account=account,
        tally=tally,
        done=frozenset(done),
        is_complete=is_complete,
    )


def _finished(storage: LocalStorage) -> dict[int, LedgerEntry]:
    """The finished shards of this dataset; one whose entry is not the one that was written is made
    again.
    """
    head = read_head(storage)
    done = finished(storage)
    return done if head is None else {i: e for i, e in done.items() if head.fits_entry(e)}


def _new_plan(
    request: Request, storage: LocalStorage, tally: Tally, account: Account
) -> PlanSummary:
    """Plan the source's listing and store that."""
    shards = make_plan(request.source, request.cut, account)
    return write_plan(storage, shards, lambda shard: tally.add_planned(shard.num_samples))


def _require_samples(plan: PlanSummary, request: Request) -> PlanSummary:
    if not plan.num_shards:
        raise PrepError(
            f"{request.source.describe().get('root', 'the source')} has no samples to encode"
        )
    return plan


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
