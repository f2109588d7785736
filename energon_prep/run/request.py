"""What a user asked for, looked at as far as that goes without loading models: the same for a run
and a dry run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energon_prep.pipeline.carrying import check_carry, further_parts
from energon_prep.plan.shards import Cut
from energon_prep.recipes.load import load_recipe
from energon_prep.recipes.model import Recipe
from energon_prep.sources.base import Source
from energon_prep.sources.detect import open_source
from energon_prep.sources.options import SourceOptions
from energon_prep.splits import parse_split
from energon_prep.targets import Target, get_target, require_fit


@dataclass(frozen=True, kw_only=True)
class Request:
    """A recipe, a source and how it is cut into shards, all of them sound."""

    recipe: Recipe
    target: Target
    source: Source
    options: SourceOptions
    cut: Cut


def make_request(
    source: str | Path,
    *,
    recipe: str | Path | Recipe,
    changes: Mapping[str, Any] | None,
    source_kind: str | None,
    options: SourceOptions | None,
    limit: int | None,
    shuffle: int | None,
    split: str | Sequence[float] | None,
) -> Request:
    """Raises PrepError for what cannot be meant, naming it and the remedy. See ``encode`` for the
    arguments.
    """
    resolved = load_recipe(recipe, changes)
    given = options or SourceOptions()
    of_source = dataclasses.replace(
        given,
        allow_empty_captions=given.allow_empty_captions or resolved.allow_empty_captions,
        max_bytes=resolved.limits.max_bytes,
        seed=resolved.seed,
        carry_parts=further_parts(resolved.carry),
    )
    cut = Cut(
        samples_per_shard=resolved.samples_per_shard,
        limit=limit,
        shuffle=shuffle,
        split=None if split is None else parse_split(split),
    )
    return Request(
        recipe=resolved,
        target=_target(resolved),
        source=open_source(str(source), kind=source_kind, options=of_source),
        options=of_source,
        cut=cut,
    )


def _target(recipe: Recipe) -> Target:
    """The recipe's target, which must be able to store what the recipe makes."""
    target = get_target(recipe.target)
    num_sizes = 1 + len(recipe.resize.more_resolutions)
    require_fit(target, text_names=[text.name for text in recipe.text], num_sizes=num_sizes)
    check_carry(recipe.carry, target)
    return target
