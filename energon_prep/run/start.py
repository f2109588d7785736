"""A new run is entered into its destination; an old one goes on only with the same bytes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from energon_prep.demo.tiny.pipeline import architecture
from energon_prep.device.batch_sizes import BatchSizes
from energon_prep.device.devices import num_cpus
from energon_prep.encoders.identity import identities, names
from energon_prep.errors import PrepError, UsageError
from energon_prep.executors.base import Ready
from energon_prep.executors.job import Job
from energon_prep.layout import PLAN, PRIVATE_DIR
from energon_prep.plan.shards import Cut
from energon_prep.recipes.model import Recipe
from energon_prep.run.destination import refuse_foreign
from energon_prep.run.manifest import fields_of, refuse_other, versions, write_run
from energon_prep.shards.head import begin_head, publish_noted
from energon_prep.sources.base import Source
from energon_prep.storage import LocalStorage, publish_bytes
from energon_prep.targets import Target

log = logging.getLogger(__name__)


def refuse_other_start(
    storage: LocalStorage, old: Mapping[str, Any] | None, source: Source, recipe: Recipe, cut: Cut
) -> None:
    """Refuse a destination of others, or one begun with another recipe or source: told before
    anything is loaded. Where a source lies is not its identity, its contents are; but for a user's
    own class, to which it may mean anything.
    """
    if old is None:
        refuse_foreign(storage, where=str(storage.root))
        return
    new: dict[str, Any] = {
        "recipe": recipe.model_dump(mode="json"),
        "source": source.describe(),
        "cut": describe_cut(cut),
    }
    there = {name: old[name] for name in new}
    there["cut"] = {**there["cut"], "limit": cut.limit}  # plan/growth.py decides over another
    if ":" not in new["source"]["kind"] and "root" in there["source"]:
        there["source"] = {**there["source"], "root": new["source"]["root"]}
    refuse_other(there, new, where=str(storage.root))


def refuse_other_models(
    storage: LocalStorage, old: Mapping[str, Any], job: Job, *, needed: bool
) -> None:
    """Refuse models that are not those the destination was begun with: first by their names, then
    by their files, and before any is loaded. ``needed``: they will be.
    """
    for found in (names, partial(identities, needed=needed)):
        models = found(job.recipe, weights=job.weights, architecture=architecture)
        new = {"encoders": models}
        refuse_other(fields_of(old, new), new, where=str(storage.root))


def torch_threads(asked: int | None, old: Mapping[str, Any] | None) -> int:
    """The recorded number when resuming, since it may change the last bits; else what was asked
    for.
    """
    recorded = old["runtime"]["torch_threads"] if old is not None else None
    if recorded is not None and asked is not None and asked != recorded:
        raise UsageError(
            f"--torch-threads {asked}: this destination is made with {recorded}, and another "
            "number may change the last bits of its numbers. Leave the option out to go on"
        )
    return int(recorded or asked or num_cpus())


def recorded_sizes(old: Mapping[str, Any] | None) -> BatchSizes | None:
    """The batch sizes of a run that is resumed; None: to be found."""
    return None if old is None else BatchSizes.parse(old["batch_sizes"])


def describe_cut(cut: Cut) -> dict[str, Any]:
    """JSON-able; ``samples_per_shard`` is the recipe's."""
    return {
        "limit": cut.limit,
        "shuffle": cut.shuffle,
        "split": None if cut.split is None else list(cut.split),
    }


def is_raised(old: Mapping[str, Any], limit: int | None) -> bool:
    """Whether a limit asks for more than that of the run before."""
    before = old["cut"].get("limit")
    return before is not None and (limit is None or limit > before)


def describe(
    job: Job, ready: Ready, target: Target, cut: Cut, *, is_extended: bool
) -> dict[str, Any]:
    """run.json of this run, but for the totals."""
    return {
        "recipe": job.recipe.model_dump(mode="json"),
        "source": job.source,
        "cut": describe_cut(cut),
        "encoders": ready.encoders,
        "batch_sizes": ready.sizes.describe(),
        "target": {
            "name": target.name,
            "parts": list(target.part_names),
            "subflavors": target.subflavors(),
            "plugin": target.about,
        },
        "runtime": {"device": job.device.partition(":")[0], "torch_threads": job.torch_threads},
        "versions": versions(),
        # no listing of the source gives its plan again
        **({"extended": True} if is_extended else {}),
    }


def refuse_other_run(storage: LocalStorage, old: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Refuse models that, once loaded, are not those the destination was begun with."""
    same = ("encoders", "batch_sizes", "target", "runtime")
    refuse_other(
        {name: old[name] for name in same},
        {name: run[name] for name in same},
        where=str(storage.root),
    )


def _refuse_to_replace(storage: LocalStorage, name: str, data: bytes) -> None:
    """A file of others stays; one that an interrupted start of this run left has the same
    content.
    """
    if (
        not name.startswith(f"{PRIVATE_DIR}/")
        and storage.exists(name)
        and storage.read(name) != data
    ):
        raise PrepError(
            f"{storage.root} holds a {name} that is not of this run: move it away, or give "
            "another destination"
        )


def enter(
    run: Mapping[str, Any],
    old: Mapping[str, Any] | None,
    storage: LocalStorage,
    *,
    caption_files: Mapping[str, bytes],
) -> None:
    """Enter a new run into the destination, or make sure that it continues the one there."""
    if old is None:
        # run.json comes last: what it vouches for is there when it is.
        for name, data in caption_files.items():
            _refuse_to_replace(storage, name, data)
            publish_bytes(storage, name, data)
        begin_head(storage, (PLAN, *caption_files))
        write_run(storage, run)
        return
    refuse_other_run(storage, old, run)
    for name, version in run["versions"].items():
        if old["versions"].get(name) != version:
            log.warning(
                "going on with %s %s what was begun with %s: the last bits of numbers may differ",
                name,
                version,
                old["versions"].get(name),
            )
    for name, data in caption_files.items():
        if not storage.exists(name):  # set aside because it was damaged
            publish_noted(storage, name, data)
