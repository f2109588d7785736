"""From a recipe and ``--weights`` to loaded encoders; the one place that knows both."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from energon_prep.encoders.base import TextEncoder, VisualEncoder
from energon_prep.encoders.checkpoint import Checkpoint, EncoderSource, open_checkpoint
from energon_prep.encoders.downloads import refuse_incomplete_cache
from energon_prep.encoders.locate import Sources, locate, resolve
from energon_prep.recipes.model import Recipe

__all__ = [
    "Checkpoints",
    "Sources",
    "find_checkpoints",
    "load_texts",
    "load_visual",
    "locate",
    "resolve",
]


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """A recipe's encoders, found."""

    visual: Checkpoint | None  #: None: of a class of the user's
    texts: tuple[Checkpoint | None, ...]  #: in the recipe's order


def find_checkpoints(recipe: Recipe, *, weights: str | None) -> Checkpoints:
    """Find all encoders, of which only configurations are downloaded. Raises PrepError for one that
    cannot be had.
    """
    refuse_incomplete_cache(recipe, weights=weights)
    sources = resolve(recipe, weights=weights)
    texts = tuple(_open(source) for source in sources.texts)
    return Checkpoints(visual=_open(sources.visual), texts=texts)


def load_visual(
    recipe: Recipe, *, weights: str | Checkpoints | None, device: torch.device | str
) -> VisualEncoder:
    """Load the visual encoder, frozen, on ``device``. Raises PrepError if it cannot be had or does
    not work.

    ``weights``: what ``--weights`` says, or what was found for it.
    """
    from energon_prep.encoders.visual_weights import load_visual_encoder

    if isinstance(weights, Checkpoints):
        checkpoint = weights.visual
    else:
        checkpoint = _open(resolve(recipe, weights=weights).visual)
    if checkpoint is None:
        from energon_prep.encoders.own import OwnVisual

        return OwnVisual(recipe.visual, torch.device(device))
    typical = (recipe.frames.num_frames, *recipe.resize.resolution)
    return load_visual_encoder(recipe.visual, checkpoint, torch.device(device), typical=typical)


def load_texts(
    recipe: Recipe, *, weights: str | Checkpoints | None, device: torch.device | str
) -> list[TextEncoder]:
    """Load the text encoders in the recipe's order, frozen, on ``device``; otherwise as
    ``load_visual``.
    """
    from energon_prep.encoders.own import OwnText
    from energon_prep.encoders.text_weights import load_text

    if isinstance(weights, Checkpoints):
        checkpoints = weights.texts
    else:
        checkpoints = tuple(_open(source) for source in resolve(recipe, weights=weights).texts)
    return [
        OwnText(spec, torch.device(device))
        if checkpoint is None
        else load_text(spec, checkpoint, torch.device(device))
        for spec, checkpoint in zip(recipe.text, checkpoints, strict=True)
    ]


def _open(source: EncoderSource) -> Checkpoint | None:
    return None if source.own else open_checkpoint(source)
