"""``encode`` turns a source into a dataset, or goes on where it was stopped: begin, work,
finish.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from energon_prep.device.devices import num_cpus, resolve_devices
from energon_prep.errors import PrepError
from energon_prep.executors import open_executor
from energon_prep.executors.base import Executor
from energon_prep.executors.job import Job
from energon_prep.layout import PLAN
from energon_prep.pipeline.tally import Profile, RejectLimit, Tally
from energon_prep.plan.shards import PlanSummary, compare_plan, make_plan, read_plan, write_plan
from energon_prep.recipes.model import Recipe
from energon_prep.run import start
from energon_prep.run.destination import clear
from energon_prep.run.manifest import read_run, write_run
from energon_prep.run.report import DryRun, EncodeReport
from energon_prep.run.request import Request, make_request
from energon_prep.shards.ledger import finished
from energon_prep.sources.account import Account
from energon_prep.sources.options import SourceOptions
from energon_prep.storage import LocalStorage
from energon_prep.targets.caption_files import caption_file_names

log = logging.getLogger(__name__)

Progress = Callable[[Tally], None]


def encode(
    source: str | Path = ".",
    dest: str | Path = "./encoded",
    *,
    recipe: str | Path | Recipe = "dit",
    changes: Mapping[str, Any] | None = None,
    weights: str | None = None,
    source_kind: str | None = None,
    options: SourceOptions | None = None,
    limit: int | None = None,
    shuffle: int | None = None,
    split: str | Sequence[float] | None = None,
    device: str = "auto",
    workers: int | None = None,
    phases: bool = False,
    torch_threads: int | None = None,
    max_rejects: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> EncodeReport:
    """Encode ``source`` into the dataset ``dest`` with a recipe, or go on where an earlier run was
    stopped.

    ``changes`` are recipe fields by dotted path (see ``load_recipe``), ``options`` say how the
    source is read. With ``shuffle``, a seed, the whole order is drawn before anything is encoded;
    with ``split``, such as "8,1,1", train, val and test get shards of their own, of samples drawn
    from all of the source, for ``index`` to name. Every one of ``device``'s devices has a worker
    process of its own; ``workers`` are decode threads of each. Neither changes the result;
    ``torch_threads`` is recorded with the dataset because it may. ``phases``: the visual and the
    text encoders take turns on a device that has no room for both. ``progress`` is called after
    every sample.

    Raises PrepError when the run cannot go on; what is finished by then is kept.
    """
    request = make_request(
        source,
        recipe=recipe,
        changes=changes,
        source_kind=source_kind,
        options=options,
        limit=limit,
        shuffle=shuffle,
        split=split,
    )
    tally = Tally(limit=RejectLimit.parse(max_rejects), on_change=progress)
    devices = resolve_devices(device)
    storage = LocalStorage(Path(dest))
    with storage.locked():
        old = None if overwrite else read_run(storage)
        job = Job(
            recipe=request.recipe,
            source=request.source.describe(),
            weights=weights,
            device=devices[0],
            torch_threads=start.torch_threads(torch_threads, old),
            workers=workers or max(1, num_cpus() // len(devices)),
            phases=phases,
        )
        with closing(open_executor(job, devices, storage)) as executor:
            if overwrite:
                # first: models that do not load must not cost the dataset that is there
                executor.load(None)
                clear(storage, request.target)
            run = begin(request, job, storage, executor, old, tally)
            work(run, executor)
            return finish(run, dest=str(dest))


def dry_run(
    source: str | Path = ".",
    *,
    recipe: str | Path | Recipe = "dit",
    changes: Mapping[str, Any] | None = None,
    source_kind: str | None = None,
    options: SourceOptions | None = None,
    limit: int | None = None,
    shuffle: int | None = None,
    split: str | Sequence[float] | None = None,
) -> DryRun:
    """The resolved recipe, the recognised source and its plan, as ``encode`` would have them.
    Writes nothing.
    """
    request = make_request(
        source,
        recipe=recipe,
        changes=changes,
        source_kind=source_kind,
        options=options,
        limit=limit,
        shuffle=shuffle,
        split=split,
    )
    account, summary = Account(), PlanSummary(split={})
    for shard in make_plan(request.source, request.cut, account):
        summary.add(shard)
    return DryRun(
        recipe=request.recipe, source=request.source.describe(), plan=summary, account=account
    )


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
) -> Run:
    """Plan the source and enter the run into its destination, which is locked; ``old``: its
    run.json, if it goes on.

    Raises PrepError for a destination that was begun with something else, before any model is
    loaded as far as that can be told without.
    """
    start.refuse_other_start(storage, old, request.source, request.recipe, request.cut)
    account = Account()
    plan = _plan(request, storage, tally, account)
    done = finished(storage) if old is not None else {}
    for entry in done.values():
        tally.add_finished(entry)
    files = caption_file_names(request.target)
    is_complete = (
        old is not None and len(done) == plan.num_shards and all(map(storage.exists, files))
    )
    run = old or {}
    if not is_complete:
        ready = executor.load(start.recorded_sizes(old))
        run = start.describe(job, ready, request.target, request.cut)
        start.begin(run, old, storage, caption_files=ready.caption_files)
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


def work(run: Run, executor: Executor) -> None:
    """Encode the shards that are not there yet, whoever the executor's workers are."""
    if run.is_complete:
        return
    started = time.monotonic()
    rest = (shard for shard in read_plan(run.storage) if shard.index not in run.done)
    # Closed here: stopped by Ctrl-C, the workers must have come to rest before the destination's
    # lock is let go.
    with closing(executor.run(rest, run.tally)) as entries:
        for entry in entries:
            log.info(
                "%s: %d written, %d rejected",
                entry.shard or "no shard",
                entry.num_written,
                entry.num_rejected,
            )
    run.profile, run.seconds = executor.profile, time.monotonic() - started


def finish(run: Run, *, dest: str) -> EncodeReport:
    """Enter the totals and judge the whole. Raises PrepError if samples are missing, or too many
    were rejected.
    """
    tally, plan = run.tally, run.plan
    report = EncodeReport(
        dest=dest,
        num_samples=plan.num_samples,
        num_written=tally.num_written,
        num_rejected=tally.num_rejected,
        rejects=dict(sorted(tally.rejects.items())),
        notes=dict(sorted(tally.notes.items())),
        num_shards=plan.num_shards,
        split=plan.split,
        found=run.account.describe(),
        num_resumed=tally.num_resumed,
        seconds=round(run.seconds, 3),
        workers=run.job.workers,
        profile=run.profile.to_dict(),
        limited_by=run.profile.limit(),
    )
    if run.run is not run.old or "totals" not in run.run:
        # which was killed just before they were entered
        write_run(run.storage, {**run.run, "totals": report.to_dict()})
    tally.finish()
    if not run.request.options.allow_damaged:
        _judge(run.account)
    return report


def _plan(request: Request, storage: LocalStorage, tally: Tally, account: Account) -> PlanSummary:
    """Plan the source's listing and store that, or hold it against what an earlier run stored."""
    shards = make_plan(request.source, request.cut, account)
    make = compare_plan if storage.exists(PLAN) else write_plan
    summary = make(storage, shards, lambda shard: tally.add_planned(shard.num_samples))
    if not summary.num_shards:
        raise PrepError(
            f"{request.source.describe().get('root', 'the source')} has no samples to encode"
        )
    return summary


def _judge(account: Account) -> None:
    """Raise PrepError for tars that end early: what they lack is in nobody's count."""
    if account.damaged:
        tar, what = next(iter(account.damaged.items()))
        number = len(account.damaged)
        raise PrepError(
            f"{number} {'tar ends' if number == 1 else 'tars end'} early or damaged, first "
            f"{tar}: {what}. What could be read is encoded. Fetch again and encode into a new "
            "destination, or run this again with --allow-damaged"
        )
