"""What identifies the encoders that a recipe and ``--weights`` name, told without loading them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Literal

from energon_prep import plugins
from energon_prep.encoders.checkpoint import EncoderSource, open_checkpoint
from energon_prep.encoders.locate import locate
from energon_prep.errors import PrepError
from energon_prep.recipes.model import Recipe

log = logging.getLogger(__name__)

#: Tells the weights that are made for a recipe, "tiny" or "random", apart from others.
Architecture = Callable[[Recipe, Literal["tiny", "random"]], str]


def names(recipe: Recipe, *, weights: str | None, architecture: Architecture) -> dict[str, Any]:
    """Of each encoder what its name alone says; no file of it is read.

    As in run.json, where an encoder's description has these fields and others. Raises PrepError
    for names that are none.
    """
    return _of_each(recipe, weights, lambda source: _named(source, recipe, architecture))


def identities(
    recipe: Recipe, *, weights: str | None, architecture: Architecture, needed: bool
) -> dict[str, Any]:
    """As ``names``, with what tells the files apart: commit, digests of configuration and
    tokenizer, and of the ends of the weights.

    Raises PrepError for files that cannot be had. Where a hub does not give them, that is only
    told, and the name alone is given, unless the models are ``needed``.
    """
    unseen: list[str] = []

    def identity(source: EncoderSource) -> dict[str, Any]:
        if source.own or source.built or (source.is_on_hub and unseen):
            return _named(source, recipe, architecture)
        try:
            return open_checkpoint(source).describe()
        except PrepError as error:
            if needed or not source.is_on_hub:
                raise
            unseen.append(source.location)
            log.warning("the models' names are those of the dataset, their files unseen: %s", error)
            return _named(source, recipe, architecture)

    return _of_each(recipe, weights, identity)


def refuse_incomplete_folders(recipe: Recipe, *, weights: str | None) -> None:
    """Raise PrepError for a folder that lacks files of an encoder, or has those of another model's;
    hubs are not asked.
    """
    for source in locate(recipe, weights=weights):
        if not (source.own or source.built or source.is_on_hub):
            open_checkpoint(source)


def _of_each(
    recipe: Recipe, weights: str | None, describe: Callable[[EncoderSource], dict[str, Any]]
) -> dict[str, Any]:
    sources = locate(recipe, weights=weights)
    return {
        "visual": describe(sources.visual),
        "text": [describe(source) for source in sources.texts],
    }


def _named(source: EncoderSource, recipe: Recipe, architecture: Architecture) -> dict[str, Any]:
    if source.own:
        return plugins.identify(source.kind, source.location)
    if source.built:
        return {"model": source.built, "architecture": architecture(recipe, source.built)}
    return {"model": source.location}
