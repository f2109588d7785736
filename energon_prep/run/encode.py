"""``encode`` turns a source into a dataset, or goes on where it was stopped."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energon_prep.device.devices import num_cpus, resolve_devices
from energon_prep.errors import PrepError
from energon_prep.executors.base import Executor
from energon_prep.executors.job import Job
from energon_prep.executors.local import LocalExecutor
from energon_prep.layout import PLAN
from energon_prep.pipeline.carrying import check_carry, further_parts
from energon_prep.pipeline.profile import Profile
from energon_prep.pipeline.tally import RejectLimit, Tally
from energon_prep.plan.shards import Cut, PlanSummary, ShardPlan, compare_plan, make_plan, read_plan, write_plan
from energon_prep.recipes.load import load_recipe
from energon_prep.recipes.model import Recipe
from energon_prep.run import start
from energon_prep.run.destination import clear
from energon_prep.run.manifest import read_run, write_run
from energon_prep.shards.ledger import finished
from energon_prep.sources.account import Account
from energon_prep.sources.base import Source
from energon_prep.sources.detect import open_source
from energon_prep.sources.options import SourceOptions
from energon_prep.splits import parse_split
from energon_prep.storage import LocalStorage
from energon_prep.targets import Target, get_target, require_fit
from energon_prep.targets.caption_files import caption_file_names

log = logging.getLogger(__name__)

Progress = Callable[[Tally], None]


@dataclass(frozen=True, kw_only=True)
class EncodeReport:
    """What a run did: ``num_samples`` = ``num_written`` + ``num_rejected``."""

    dest: str
    num_samples: int
    num_written: int
    num_rejected: int
    rejects: dict[str, int]  #: "stage: reason" -> samples
    notes: dict[str, int]  #: what was done to written samples -> how often: captions cut, pictures enlarged, ...
    num_shards: int
    split: dict[str, int]  #: samples planned for train, val and test; empty without a split
    found: dict[str, Any]  #: the source's Account: found, samples, companions, passed_over, ...
    num_resumed: int  #: samples that earlier runs had finished
    seconds: float  #: of encoding, after the models were loaded
    workers: int  #: decode threads per device
    profile: dict[str, Any]  #: seconds by station, and those in which the models waited; of all devices together
    limited_by: str  #: the station that the others wait for: read, decode, visual, text or write; "": none

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


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
    """Encode ``source`` into the dataset ``dest`` with a recipe, or go on where an earlier run was stopped.

    ``changes`` are recipe fields by dotted path (see ``load_recipe``), ``options`` say how the source is read. With
    ``shuffle``, a seed, the whole order is drawn before anything is encoded; with ``split``, such as "8,1,1", train,
    val and test get shards of their own, of samples drawn from all of the source, for ``index`` to name. Every one of
    ``device``'s devices has a worker process of its own; ``workers`` are decode threads of each. Neither changes the
    result; ``torch_threads`` is
    recorded with the dataset because it may. ``phases``: the visual and the text encoders take turns on a device that
    has no room for both. ``progress`` is called after every sample. Raises PrepError when the run cannot go on; what
    is finished by then is kept.
    """
    asked = _ask(source, recipe, changes, source_kind, options)
    cut = _cut(asked.recipe, limit, shuffle, split)
    reject_limit = RejectLimit.parse(max_rejects)
    devices = resolve_devices(device)
    storage = LocalStorage(Path(dest))
    with storage.locked(), ExitStack() as stack:
        old = None if overwrite else read_run(storage)
        job = Job(
            recipe=asked.recipe,
            source=asked.source.describe(),
            weights=weights,
            device=devices[0],
            torch_threads=start.torch_threads(torch_threads, old),
            workers=workers or max(1, num_cpus() // len(devices)),
            phases=phases,
        )
        executor = stack.enter_context(closing(_open_executor(job, devices, storage)))
        if overwrite:
            executor.load(None)  # first: models that do not load must not cost the dataset that is there
            clear(storage)
        start.refuse_other_start(storage, old, asked.source, asked.recipe, cut)
        tally, account = Tally(limit=reject_limit, on_change=progress), Account()
        plan = _plan(asked.source, storage, cut, tally, account)
        done = finished(storage) if old is not None else {}
        for entry in done.values():
            tally.add_finished(entry)
        complete = len(done) == plan.num_shards and all(map(storage.exists, caption_file_names(asked.target)))
        run, profile, seconds = old or {}, Profile(), 0.0
        if not run or not complete:
            ready = executor.load(start.recorded_sizes(old))
            run = start.describe(job, ready, asked.target, cut)
            start.begin(run, old, storage, caption_files=ready.caption_files)
            started = time.monotonic()
            rest = (shard for shard in read_plan(storage) if shard.index not in done)
            _encode_shards(rest, executor, tally)
            profile, seconds = executor.profile, time.monotonic() - started
        report = EncodeReport(
            dest=str(dest),
            num_samples=plan.num_samples,
            num_written=tally.num_written,
            num_rejected=tally.num_rejected,
            rejects=dict(sorted(tally.rejects.items())),
            notes=dict(sorted(tally.notes.items())),
            num_shards=plan.num_shards,
            split=plan.split,
            found=account.describe(),
            num_resumed=tally.num_resumed,
            seconds=round(seconds, 3),
            workers=job.workers,
            profile=profile.to_dict(),
            limited_by=profile.limit(),
        )
        if run is not old or "totals" not in run:  # which was killed just before they were entered
            write_run(storage, {**run, "totals": report.to_dict()})
        tally.finish()
        if not asked.options.allow_damaged:
            _judge(account)
    return report


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What ``encode`` would do."""

    recipe: Recipe
    source: dict[str, Any]  #: as run.json describes it
    plan: PlanSummary
    account: Account


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
    """The resolved recipe, the recognised source and its plan. Writes nothing."""
    asked = _ask(source, recipe, changes, source_kind, options)
    account, summary = Account(), PlanSummary(split={})
    for shard in make_plan(asked.source, _cut(asked.recipe, limit, shuffle, split), account):
        summary.add(shard)
    if limit is None:
        account.check()
    return DryRun(recipe=asked.recipe, source=asked.source.describe(), plan=summary, account=account)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What a user asked for, looked at as far as that goes without loading models."""

    recipe: Recipe
    target: Target
    source: Source
    options: SourceOptions


def _ask(
    source: str | Path,
    recipe: str | Path | Recipe,
    changes: Mapping[str, Any] | None,
    source_kind: str | None,
    options: SourceOptions | None,
) -> _Asked:
    resolved = load_recipe(recipe, changes)
    asked = options or SourceOptions()
    asked = dataclasses.replace(
        asked,
        allow_empty_captions=asked.allow_empty_captions or resolved.allow_empty_captions,
        max_bytes=resolved.limits.max_bytes,
        seed=resolved.seed,
        carry_parts=further_parts(resolved.carry),
    )
    opened = open_source(str(source), kind=source_kind, options=asked)
    return _Asked(recipe=resolved, target=_target(resolved), source=opened, options=asked)


def _cut(recipe: Recipe, limit: int | None, shuffle: int | None, split: str | Sequence[float] | None) -> Cut:
    return Cut(
        samples_per_shard=recipe.samples_per_shard,
        limit=limit,
        shuffle=shuffle,
        split=None if split is None else parse_split(split),
    )


def _target(recipe: Recipe) -> Target:
    """The recipe's target, which must be able to store what the recipe makes."""
    target = get_target(recipe.target)
    num_sizes = 1 + len(recipe.resize.more_resolutions)
    require_fit(target, text_names=[text.name for text in recipe.text], num_sizes=num_sizes)
    check_carry(recipe.carry, target)
    return target


def _plan(source: Source, storage: LocalStorage, cut: Cut, tally: Tally, account: Account) -> PlanSummary:
    """Plan the source's listing and store that, or hold it against what an earlier run stored."""
    shards = make_plan(source, cut, account)
    make = compare_plan if storage.exists(PLAN) else write_plan
    summary = make(storage, shards, lambda shard: tally.add_planned(shard.num_samples))
    if cut.limit is None:  # or else the listing may have ended early
        account.check()
    if not summary.num_shards:
        raise PrepError(f"{source.describe().get('root', 'the source')} has no samples to encode")
    return summary


def _open_executor(job: Job, devices: Sequence[str], storage: LocalStorage) -> Executor:
    if len(devices) == 1:
        return LocalExecutor(job, storage)
    from energon_prep.executors.processes import ProcessExecutor

    threads = len(devices) * job.torch_threads
    if job.device == "cpu" and threads > num_cpus():
        log.warning(
            "%d workers with %d torch threads each are more than the %d processors: fewer --torch-threads are faster",
            len(devices),
            job.torch_threads,
            num_cpus(),
        )
    return ProcessExecutor(job, devices, storage)


def _encode_shards(shards: Iterator[ShardPlan], executor: Executor, tally: Tally) -> None:
    # Closed here: stopped by Ctrl-C, the workers must have come to rest before the destination's lock is let go.
    with closing(executor.run(shards, tally)) as entries:
        for entry in entries:
            log.info("%s: %d written, %d rejected", entry.shard or "no shard", entry.num_written, entry.num_rejected)


def _judge(account: Account) -> None:
    """Raise PrepError for tars that end early: what they lack is in nobody's count."""
    if account.damaged:
        tar, what = next(iter(account.damaged.items()))
        number = len(account.damaged)
        raise PrepError(
            f"{number} {'tar ends' if number == 1 else 'tars end'} early or damaged, first {tar}: {what}. What could "
            "be read is encoded. Fetch again and encode into a new destination, or run this again with --allow-damaged"
        )
