"""From the options of ``encode`` to what is done, as far as that goes without loading models: the
same for a run and a dry run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from energon_prep.device.devices import num_cpus
from energon_prep.encoders.locate import locate
from energon_prep.errors import UsageError
from energon_prep.executors.job import Job
from energon_prep.options import listed
from energon_prep.pipeline.carrying import check_carry, further_parts
from energon_prep.plan.shards import Cut
from energon_prep.recipes.model import Recipe
from energon_prep.run.options import EncodeOptions
from energon_prep.run.resolve import resolve_recipe
from energon_prep.sources.base import Source
from energon_prep.sources.detect import open_source
from energon_prep.sources.options import SourceOptions
from energon_prep.splits import parse_split
from energon_prep.storage import dataset_folder
from energon_prep.targets import Target, get_target, require_fit

_MOST_THREADS = 1024


@dataclass(frozen=True, kw_only=True)
class Request:
    """A recipe, a source and how it is cut into shards, all of them sound."""

    recipe: Recipe
    target: Target
    source: Source
    options: SourceOptions
    cut: Cut


def make_request(options: EncodeOptions) -> Request:
    """Raises PrepError for what cannot be meant, naming it and the remedy."""
    _check(options)
    refuse_overlap(str(options.source), dataset_folder(options.dest))
    recipe = resolve_recipe(options)
    locate(recipe, weights=options.weights)  # names of models that are none, before all else
    of_source = _source_options(options, recipe)
    cut = Cut(
        samples_per_shard=recipe.samples_per_shard,
        limit=options.limit,
        shuffle=options.shuffle,
        split=None if options.split is None else parse_split(options.split),
    )
    return Request(
        recipe=recipe,
        target=_target(recipe),
        source=open_source(str(options.source), kind=options.source_kind, options=of_source),
        options=of_source,
        cut=cut,
    )


def make_job(
    options: EncodeOptions, request: Request, *, devices: Sequence[str], torch_threads: int
) -> Job:
    """What every worker will do, the first one's device in it."""
    return Job(
        recipe=request.recipe,
        source=request.source.describe(),
        weights=options.weights,
        device=devices[0],
        torch_threads=torch_threads,
        workers=options.workers or max(1, num_cpus() // len(devices)),
        num_devices=len(devices),
        phases=options.phases,
        allow_unreadable=options.allow_unreadable,
        dest=dataset_folder(options.dest),
    )


def _check(options: EncodeOptions) -> None:
    for name in ("workers", "torch_threads"):
        number = getattr(options, name)
        if number is not None and number > _MOST_THREADS:
            raise UsageError(
                f"--{name.replace('_', '-')} {number}: give {_MOST_THREADS} at most; this machine "
                f"has {num_cpus()} processors"
            )
    names_as = sys.getfilesystemencoding()
    if names_as.lower() != "utf-8":  # the same files would have other names, and other keys
        raise UsageError(
            f"names of files are read as {names_as} here (the locale says so), and not as UTF-8: "
            "set PYTHONUTF8=1"
        )
    if options.profile is not None and not Path(options.profile).absolute().parent.is_dir():
        raise UsageError(f"--profile {options.profile}: there is no such folder")


def refuse_overlap(source: str, dest: Path) -> None:
    """Raise UsageError for a source that is the destination or lies in it: the one would be taken
    for the other.
    """
    root = Path(source).expanduser().absolute().resolve()
    if root == dest.resolve() or dest.resolve() in root.parents:
        raise UsageError(
            f"SRC {source} is DST, or lies in it ({dest}): write to a folder of its own"
        )


def _source_options(options: EncodeOptions, recipe: Recipe) -> SourceOptions:
    return SourceOptions(
        caption_keys=listed(options.caption_key),
        media_key=options.image_key,
        captions=options.captions,
        caption_lines=options.caption_lines,
        caption_encoding=options.caption_encoding,
        caption_text=options.caption,
        caption_from_name=options.caption_from_name,
        captions_dir=options.captions_dir,
        allow_empty_captions=options.allow_empty_captions or recipe.allow_empty_captions,
        media_root=options.media_root,
        carry_parts=further_parts(recipe.carry),
        include=listed(options.include),
        exclude=listed(options.exclude),
        follow_links=options.follow_links,
        folder_repeats=options.folder_repeats,
        allow_damaged=options.allow_damaged,
        seed=recipe.seed,
        max_bytes=recipe.limits.max_bytes,
    )


def _target(recipe: Recipe) -> Target:
    """The recipe's target, which must be able to store what the recipe makes."""
    target = get_target(recipe.target)
    num_sizes = 1 + len(recipe.resize.more_resolutions)
    require_fit(target, text_names=[text.name for text in recipe.text], num_sizes=num_sizes)
    check_carry(recipe.carry, target)
    return target
