"""The engine's front: ``encode`` turns a source into a dataset, or goes on where it was stopped."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energon_prep.engine.destination import EMPTY_CAPTION, clear, forget_plan, refuse_foreign
from energon_prep.engine.encoding import encode_captions
from energon_prep.engine.executors.local import LocalExecutor
from energon_prep.engine.job import Encoders, Job, build_stations, load_encoders, num_cpus, resolve_device
from energon_prep.engine.manifest import read_run, refuse_other, versions, write_run
from energon_prep.engine.plan import PLAN, PlanSummary, ShardPlan, StoredPlan, compare_plan, make_plan
from energon_prep.engine.planning import Planning
from energon_prep.engine.tally import RejectLimit, Tally
from energon_prep.errors import PrepError
from energon_prep.recipes.load import load_recipe
from energon_prep.recipes.model import Recipe
from energon_prep.shards.ledger import finished
from energon_prep.sources.base import Source
from energon_prep.sources.detect import open_source
from energon_prep.storage import LocalStorage, publish_bytes
from energon_prep.targets import Target, get_target, require_fit
from energon_prep.targets.serialize import dumps_pickle

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
    torch_threads: int | None = None,
    max_rejects: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> EncodeReport:
    """Encode ``source`` into the dataset ``dest`` with a recipe, or go on where an earlier run was stopped.

    ``changes`` are recipe fields by dotted path (see ``load_recipe``). ``workers`` are decode threads and do not
    change the result; ``torch_threads`` is recorded with the dataset because it may. ``progress`` is called after
    every sample. Raises PrepError when the run cannot go on; what is finished by then is kept.
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
    storage = LocalStorage(Path(dest))
    with storage.locked(), ExitStack() as stack:
        old = None if overwrite else read_run(storage)
        job = Job(
            recipe=resolved,
            source=opened.describe(),
            weights=weights,
            device=resolve_device(device),
            torch_threads=_torch_threads(torch_threads, old),
            workers=workers or num_cpus(),
        )
        encoders = None
        if overwrite:
            encoders = load_encoders(job)  # first: models that do not load must not cost the dataset that is there
            clear(storage)
        _refuse_other_start(storage, old, opened, resolved, limit)
        tally = Tally(limit=reject_limit)
        plan = _plan(opened, storage, resolved, limit, tally, stack)
        done = finished(storage) if old is not None else {}
        for entry in done.values():
            tally.add_finished(entry)
        complete = plan.complete and len(done) == plan.summary.num_shards and storage.exists(EMPTY_CAPTION)
        if old is not None and complete:
            report = _report(tally, plan.summary, dest=str(dest), seconds=0.0)
            if "totals" not in old:  # killed just before they were entered
                write_run(storage, {**old, "totals": report.to_dict()})
            tally.finish()
            return report
        encoders = encoders or load_encoders(job)
        run = _describe(job, encoders, target, limit)
        _begin(run, old, storage, encoders)
        started = time.monotonic()
        rest = (shard for shard in plan.shards() if shard.index not in done)
        _encode_shards(rest, job, encoders, storage, tally, progress)
        report = _report(tally, plan.summary, dest=str(dest), seconds=time.monotonic() - started)
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


def _refuse_other_start(
    storage: LocalStorage, old: Mapping[str, Any] | None, source: Source, recipe: Recipe, limit: int | None
) -> None:
    """Refuse a destination of others, or one begun with another recipe or source: told before anything is loaded."""
    if old is None:
        refuse_foreign(storage, where=str(storage.root))
        forget_plan(storage)
        return
    new = {"recipe": recipe.model_dump(mode="json"), "source": source.describe(), "limit": limit}
    refuse_other({name: old.get(name) for name in new}, new, where=str(storage.root))


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


def _torch_threads(asked: int | None, old: Mapping[str, Any] | None) -> int:
    """The recorded number when resuming, since it may change the last bits; else what was asked for."""
    recorded = old["runtime"]["torch_threads"] if old is not None else None
    if recorded is not None and asked is not None and asked != recorded:
        raise PrepError(
            f"--torch-threads {asked}: this destination is made with {recorded}, and another number may change the "
            "last bits of its numbers. Leave the option out to go on"
        )
    return int(recorded or asked or num_cpus())


def _describe(job: Job, encoders: Encoders, target: Target, limit: int | None) -> dict[str, Any]:
    """run.json of this run, but for the totals."""
    return {
        "recipe": job.recipe.model_dump(mode="json"),
        "source": job.source,
        "limit": limit,
        "encoders": encoders.describe(),
        "target": {"name": target.name, "parts": list(target.part_names), "subflavors": target.subflavors()},
        "runtime": {"device": job.device.partition(":")[0], "torch_threads": job.torch_threads},
        "versions": versions(),
    }


def _begin(run: Mapping[str, Any], old: Mapping[str, Any] | None, storage: LocalStorage, encoders: Encoders) -> None:
    """Enter a new run into the destination, or make sure that it continues the one there."""
    if old is None:
        # run.json comes last: what it vouches for is there when it is.
        _publish_empty_caption(run, storage, encoders)
        write_run(storage, run)
        return
    same = ("encoders", "target", "runtime")
    refuse_other({name: old[name] for name in same}, {name: run[name] for name in same}, where=str(storage.root))
    for name, version in run["versions"].items():
        if old["versions"].get(name) != version:
            log.warning(
                "going on with %s %s what was begun with %s: the last bits of numbers may differ",
                name,
                version,
                old["versions"].get(name),
            )
    if not storage.exists(EMPTY_CAPTION):  # set aside because it was damaged
        _publish_empty_caption(run, storage, encoders)


def _publish_empty_caption(run: Mapping[str, Any], storage: LocalStorage, encoders: Encoders) -> None:
    texts = {
        text.name: encode_captions([""], text, encoder)[""]
        for text, encoder in zip(Recipe.model_validate(run["recipe"]).text, encoders.texts, strict=True)
    }
    target = get_target(run["target"]["name"])
    publish_bytes(storage, EMPTY_CAPTION, dumps_pickle(target.build_text(texts)))


def _encode_shards(
    shards: Iterator[ShardPlan],
    job: Job,
    encoders: Encoders,
    storage: LocalStorage,
    tally: Tally,
    progress: Progress | None,
) -> None:
    stations = build_stations(job, encoders)
    executor = LocalExecutor(stations, storage=storage, workers=job.workers, tally=tally)
    if progress is not None:
        tally.on_change = progress
        progress(tally)
    # Closed here: stopped by Ctrl-C, its threads must have come to rest before the destination's lock is let go.
    with closing(executor.run(shards)) as entries:
        for entry in entries:
            log.info("%s: %d written, %d rejected", entry.shard or "no shard", entry.num_written, entry.num_rejected)


def _report(tally: Tally, plan: PlanSummary, *, dest: str, seconds: float) -> EncodeReport:
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
    )
