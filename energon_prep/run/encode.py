"""``encode`` turns a source into a dataset, or goes on where it was stopped: begin, work,
finish.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

from energon_prep.device.devices import resolve_devices
from energon_prep.encoders.identity import refuse_incomplete_folders
from energon_prep.encoders.made_up import made_up_weights
from energon_prep.errors import PrepError
from energon_prep.executors import open_executor
from energon_prep.executors.base import Executor
from energon_prep.indexing import index
from energon_prep.indexing.meta import SQLITE
from energon_prep.indexing.refresh import is_stale
from energon_prep.layout import META_DIR
from energon_prep.options import takes
from energon_prep.pipeline.suspects import forget, suspects_of
from energon_prep.pipeline.tally import RejectLimit, Tally
from energon_prep.plan.shards import PlanSummary, make_plan, read_plan
from energon_prep.progress import shown
from energon_prep.run import start
from energon_prep.run.begin import GoOn, Run, begin, require_samples
from energon_prep.run.destination import clear
from energon_prep.run.manifest import read_run, write_run
from energon_prep.run.options import EncodeOptions
from energon_prep.run.report import DryRun, EncodeReport
from energon_prep.run.request import Request, make_job, make_request
from energon_prep.shards.head import seal
from energon_prep.shards.ledger import finished
from energon_prep.sources.account import Account
from energon_prep.storage import LocalStorage, dataset_folder

log = logging.getLogger(__name__)


@takes(EncodeOptions)
def encode(options: EncodeOptions) -> EncodeReport:
    """Encode ``source`` into the dataset ``dest``, or go on where an earlier run was stopped.

    Every one of ``device``'s devices has a worker process of its own, so a script needs the
    ``__main__`` guard; ``workers`` are decode threads of each. Neither changes the result;
    ``torch_threads`` is recorded with the dataset because it may.

    Returns an EncodeReport: what became of every sample. Raises PrepError when the run cannot go
    on; what is finished by then is kept. Raises TypeError for an option that there is not.
    """
    request, devices = make_request(options), resolve_devices(options.device)
    storage = LocalStorage(dataset_folder(options.dest))
    limit = RejectLimit.parse(options.max_rejects)
    with shown_tally(options.progress) as on_change, storage.locked():
        tally = Tally(limit=limit, on_change=on_change)
        old = None if options.overwrite else read_run(storage)
        threads = start.torch_threads(options.torch_threads, old)
        job = make_job(options, request, devices=devices, torch_threads=threads)
        with (
            suspects_of(storage, forgotten=options.overwrite or options.retry_rejects) as suspects,
            closing(open_executor(replace(job, suspects=suspects), devices, storage)) as executor,
        ):
            if options.overwrite:
                # first: models that do not load must not cost the dataset that is there
                executor.load(None)
                clear(storage, request.target)
            run = Run(request=request, job=job, storage=storage, tally=tally, old=old)
            go_on = GoOn(
                retry_rejects=options.retry_rejects, update=options.update, extend=options.extend
            )
            begin(run, executor, go_on)
            work(run, executor)
            report = finish(run, dest=str(options.dest))
    report = _indexed(report, options, storage)
    if options.profile is not None:
        report.write_profile(options.profile)
    return report


@takes(EncodeOptions)
def dry_run(options: EncodeOptions) -> DryRun:
    """The resolved recipe, the recognised source and its plan, as ``encode`` would have them of
    the same options.

    Writes nothing, downloads nothing and loads no model. Returns a DryRun; raises PrepError for
    what ``encode`` would refuse of them before it loads any.
    """
    request, devices = make_request(options), resolve_devices(options.device)
    RejectLimit.parse(options.max_rejects)
    refuse_incomplete_folders(request.recipe, weights=options.weights)
    if not options.overwrite:
        _refuse_destination(options, request, devices)
    account, summary = Account(), PlanSummary(split={})
    for shard in make_plan(request.source, request.cut, account):
        summary.add(shard)
    require_samples(request.source, summary.num_shards)
    return DryRun(
        recipe=request.recipe,
        source=request.source.describe(),
        plan=summary,
        account=account,
        dest=str(options.dest),
    )


def _refuse_destination(options: EncodeOptions, request: Request, devices: Sequence[str]) -> None:
    """Raise PrepError for a destination that was begun with something else, as a run would."""
    storage = LocalStorage(dataset_folder(options.dest))
    old = read_run(storage)
    start.refuse_other_start(storage, old, request.source, request.recipe, request.cut)
    threads = start.torch_threads(options.torch_threads, old)
    if old is not None:
        job = make_job(options, request, devices=devices, torch_threads=threads)
        start.refuse_other_models(storage, old, job, needed=False)


@contextmanager
def shown_tally(
    progress: bool | Callable[[Tally], None] | None,
) -> Iterator[Callable[[Tally], None] | None]:
    """A function of the user's, or a bar of ours where one is to be shown."""
    if callable(progress):
        yield progress
        return
    with shown("encode", progress, unit="samples") as show:
        if show is None:
            yield None
            return
        yield lambda tally: show(tally.state())


def work(run: Run, executor: Executor) -> None:
    """Encode the shards that are not there yet, whoever the executor's workers are.

    KeyboardInterrupt comes out of it with words: how much is kept.
    """
    if run.is_complete:
        return
    started = time.monotonic()
    rest = (shard for shard in read_plan(run.storage) if shard.index not in run.done)
    # Closed here: stopped by Ctrl-C, the workers must have come to rest before the destination's
    # lock is let go.
    try:
        with closing(executor.run(rest, run.tally)) as entries:
            for entry in entries:
                run.made[entry.index] = entry
                log.info(
                    "%s: %d written, %d rejected",
                    entry.shard or "no shard",
                    entry.num_written,
                    entry.num_rejected,
                )
    except KeyboardInterrupt:
        kept = finished(run.storage).values()  # by now the workers have come to rest
        samples = sum(entry.num_planned for entry in kept)
        raise KeyboardInterrupt(
            f"{samples} of {run.plan.num_samples} samples, in {len(kept)} shards, are kept"
        ) from None
    run.profile, run.seconds = executor.profile, time.monotonic() - started


def finish(run: Run, *, dest: str) -> EncodeReport:
    """Enter the totals and judge the whole. Raises PrepError if samples are missing, or too many
    were rejected.
    """
    tally, plan = run.tally, run.plan
    forget(run.storage)
    report = EncodeReport(
        dest=dest,
        num_samples=plan.num_samples,
        num_written=tally.num_written,
        num_rejected=tally.num_rejected,
        rejects=dict(sorted(tally.rejects.items())),
        examples=tally.examples,
        notes=dict(sorted(tally.notes.items())),
        num_shards=plan.num_shards,
        split=plan.split,
        found=run.account.describe(),
        num_resumed=tally.num_resumed,
        num_new=run.num_new if run.extends else None,
        seconds=round(run.seconds, 3),
        workers=run.job.workers,
        profile=run.profile.to_dict(),
        limited_by=run.profile.limit(),
        made_up=made_up_weights(run.run["encoders"]),
    )
    if run.run is not run.old or _are_other(run.run.get("totals"), report.totals()):
        # an earlier run was killed just before it entered them
        write_run(run.storage, {**run.run, "totals": report.totals()})
    seal(run.storage, (*run.done.values(), *run.made.values()))
    tally.finish()
    if not run.request.options.allow_damaged:
        _judge(run.account)
    return report


def _are_other(old: object, totals: Mapping[str, Any]) -> bool:
    """Whether other samples are counted in run.json than there are."""
    names = ("num_samples", "num_written", "num_rejected", "rejects")
    return not isinstance(old, Mapping) or any(old.get(name) != totals[name] for name in names)


def _indexed(report: EncodeReport, options: EncodeOptions, storage: LocalStorage) -> EncodeReport:
    """Index the dataset, whose tars are all there, for the split that was asked for; or bring the
    index that is there up to date. Returns the report with what that did.
    """
    if options.split is None and not is_stale(storage.root):
        return report
    progress = False if callable(options.progress) else options.progress
    try:
        has_sqlite = options.split is not None or (storage.root / META_DIR / SQLITE).exists()
        done = index(options.dest, split=options.split, sqlite=has_sqlite, progress=progress)
    except PrepError as error:
        raise PrepError(
            f"{report.num_written} samples are written and {report.num_rejected} rejected, and "
            f"then the index could not be made: {error}"
        ) from error
    return replace(report, index=done)


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
