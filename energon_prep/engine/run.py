"""The engine's front: ``encode`` turns a source into a dataset, or goes on where it was stopped."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energon_prep.engine import start
from energon_prep.engine.destination import EMPTY_CAPTION, clear
from energon_prep.engine.executors.base import Executor
from energon_prep.engine.executors.local import LocalExecutor
from energon_prep.engine.job import Job, num_cpus, resolve_devices
from energon_prep.engine.manifest import read_run, write_run
from energon_prep.engine.plan import PLAN, PlanSummary, ShardPlan, StoredPlan, compare_plan, make_plan
from energon_prep.engine.planning import Planning
from energon_prep.engine.profile import Profile
from energon_prep.engine.tally import RejectLimit, Tally
from energon_prep.errors import PrepError
from energon_prep.recipes.load import load_recipe
from energon_prep.recipes.model import Recipe
from energon_prep.shards.ledger import finished
from energon_prep.sources.base import Source
from energon_prep.sources.detect import open_source
from energon_prep.storage import LocalStorage
from energon_prep.targets import Target, get_target, require_fit

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
    num_truncated: int  #: written samples whose caption was cut
    num_shards: int
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
    caption_key: str | None = None,
    media_key: str | None = None,
    limit: int | None = None,
    device: str = "auto",
    workers: int | None = None,
    phases: bool = False,
    torch_threads: int | None = None,
    max_rejects: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> EncodeReport:
    """Encode ``source`` into the dataset ``dest`` with a recipe, or go on where an earlier run was stopped.

    ``changes`` are recipe fields by dotted path (see ``load_recipe``). Every one of ``device``'s devices has a worker
    process of its own; ``workers`` are decode threads of each. Neither changes the result; ``torch_threads`` is
    recorded with the dataset because it may. ``phases``: the visual and the text encoders take turns on a device that
    has no room for both. ``progress`` is called after every sample. Raises PrepError when the run cannot go on; what
    is finished by then is kept.
    """
    resolved = load_recipe(recipe, changes)
    target = _target(resolved)
    reject_limit = RejectLimit.parse(max_rejects)
    opened = open_source(
        str(source),
        kind=source_kind,
        caption_key=caption_key,
        media_key=media_key,
        allow_empty_captions=resolved.allow_empty_captions,
        max_bytes=resolved.limits.max_bytes,
    )
    devices = resolve_devices(device)
    storage = LocalStorage(Path(dest))
    with storage.locked(), ExitStack() as stack:
        old = None if overwrite else read_run(storage)
        job = Job(
            recipe=resolved,
            source=opened.describe(),
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
        start.refuse_other_start(storage, old, opened, resolved, limit)
        tally = Tally(limit=reject_limit)
        plan = _plan(opened, storage, resolved, limit, tally, stack)
        done = finished(storage) if old is not None else {}
        for entry in done.values():
            tally.add_finished(entry)
        complete = plan.complete and len(done) == plan.summary.num_shards and storage.exists(EMPTY_CAPTION)
        run, profile, seconds = old or {}, Profile(), 0.0
        if not run or not complete:
            ready = executor.load(start.recorded_sizes(old))
            run = start.describe(job, ready, target, limit)
            start.begin(run, old, storage, empty_caption=ready.empty_caption)
            started = time.monotonic()
            rest = (shard for shard in plan.shards() if shard.index not in done)
            _encode_shards(rest, executor, tally, progress)
            profile, seconds = executor.profile, time.monotonic() - started
        report = _report(tally, plan.summary, dest=str(dest), seconds=seconds, workers=job.workers, profile=profile)
        if run is not old or "totals" not in run:  # which was killed just before they were entered
            write_run(storage, {**run, "totals": report.to_dict()})
        tally.finish()
    return report


def dry_run(
    source: str | Path = ".",
    *,
    recipe: str | Path | Recipe = "dit",
    changes: Mapping[str, Any] | None = None,
    source_kind: str | None = None,
    limit: int | None = None,
) -> tuple[Recipe, dict[str, Any], PlanSummary]:
    """What ``encode`` would do: the resolved recipe, the recognised source and its plan. Writes nothing."""
    resolved = load_recipe(recipe, changes)
    _target(resolved)
    opened = open_source(str(source), kind=source_kind, max_bytes=resolved.limits.max_bytes)
    shards = make_plan(opened, samples_per_shard=resolved.samples_per_shard, limit=limit)
    sizes = [shard.num_samples for shard in shards]
    return resolved, opened.describe(), PlanSummary(num_shards=len(sizes), num_samples=sum(sizes))


def _target(recipe: Recipe) -> Target:
    """The recipe's target, which must be able to store what the recipe makes."""
    target = get_target(recipe.target)
    num_sizes = 1 + len(recipe.resize.more_resolutions)
    require_fit(target, text_names=[text.name for text in recipe.text], num_sizes=num_sizes)
    return target


def _plan(
    source: Source, storage: LocalStorage, recipe: Recipe, limit: int | None, tally: Tally, stack: ExitStack
) -> StoredPlan | Planning:
    """The stored plan, held against the source's listing; or a new one, which goes on while shards are encoded."""
    shards = make_plan(source, samples_per_shard=recipe.samples_per_shard, limit=limit)
    if storage.exists(PLAN):
        stored = StoredPlan(storage, compare_plan(storage, shards))
        tally.add_planned(stored.summary.num_samples)
        return stored
    planning = Planning(storage, shards, noted=lambda shard: tally.add_planned(shard.num_samples))
    stack.enter_context(planning)
    planning.wait_for_first()
    if not planning.summary.num_shards:
        raise PrepError(f"{source.describe().get('root', 'the source')} has no samples to encode")
    return planning


def _open_executor(job: Job, devices: Sequence[str], storage: LocalStorage) -> Executor:
    if len(devices) == 1:
        return LocalExecutor(job, storage)
    from energon_prep.engine.executors.processes import ProcessExecutor

    threads = len(devices) * job.torch_threads
    if job.device == "cpu" and threads > num_cpus():
        log.warning(
            "%d workers with %d torch threads each are more than the %d processors: fewer --torch-threads are faster",
            len(devices),
            job.torch_threads,
            num_cpus(),
        )
    return ProcessExecutor(job, devices, storage)


def _encode_shards(shards: Iterator[ShardPlan], executor: Executor, tally: Tally, progress: Progress | None) -> None:
    if progress is not None:
        tally.on_change = progress
        progress(tally)
    # Closed here: stopped by Ctrl-C, the workers must have come to rest before the destination's lock is let go.
    with closing(executor.run(shards, tally)) as entries:
        for entry in entries:
            log.info("%s: %d written, %d rejected", entry.shard or "no shard", entry.num_written, entry.num_rejected)


def _report(
    tally: Tally, plan: PlanSummary, *, dest: str, seconds: float, workers: int, profile: Profile
) -> EncodeReport:
    return EncodeReport(
        dest=dest,
        num_samples=plan.num_samples,
        num_written=tally.num_written,
        num_rejected=tally.num_rejected,
        rejects=dict(sorted(tally.rejects.items())),
        num_truncated=tally.num_truncated,
        num_shards=plan.num_shards,
        num_resumed=tally.num_resumed,
        seconds=round(seconds, 3),
        workers=workers,
        profile=profile.to_dict(),
        limited_by=profile.limit(),
    )
