"""From a recipe and ``--weights`` to loaded encoders; the one place that knows both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from energon_prep.encoders.base import TextEncoder, VisualEncoder
from energon_prep.encoders.checkpoint import Checkpoint, EncoderSource, open_checkpoint
from energon_prep.encoders.downloads import refuse_incomplete_cache
from energon_prep.encoders.locate import Builder, resolve
from energon_prep.recipes.model import Recipe


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """A recipe's encoders, found."""

    visual: Checkpoint | None  #: None: of a class of the user's
    texts: tuple[Checkpoint | None, ...]  #: in the recipe's order


def find_checkpoints(recipe: Recipe, *, weights: str | None, build: Builder) -> Checkpoints:
    """Find all encoders, of which only configurations are downloaded. Raises PrepError for one that
    cannot be had.
    """
    refuse_incomplete_cache(recipe, weights=weights)
    sources = resolve(recipe, weights=weights, build=build)
    texts = tuple(open_encoder(source) for source in sources.texts)
    return Checkpoints(visual=open_encoder(sources.visual), texts=texts)


def open_encoder(source: EncoderSource) -> Checkpoint | None:
    """As ``open_checkpoint``; None for a class of the user's."""
    return None if source.own else open_checkpoint(source)


def load_visual(
    recipe: Recipe, checkpoint: Checkpoint | None, *, device: torch.device | str
) -> VisualEncoder:
    """Load the visual encoder, frozen, on ``device``. Raises PrepError if it does not work."""
    from energon_prep.encoders.own import OwnVisual
    from energon_prep.encoders.visual_weights import load_visual_encoder

    if checkpoint is None:
        return OwnVisual(recipe.visual, torch.device(device))
    typical = (recipe.frames.num_frames, *recipe.resize.resolution)
    return load_visual_encoder(recipe.visual, checkpoint, torch.device(device), typical=typical)


def load_texts(
    recipe: Recipe, checkpoints: Sequence[Checkpoint | None], *, device: torch.device | str
) -> list[TextEncoder]:
    """As ``load_visual``: the text encoders, in the recipe's order."""
    from energon_prep.encoders.own import OwnText
    from energon_prep.encoders.text_weights import load_text

    return [
        OwnText(spec, torch.device(device))
        if checkpoint is None
        else load_text(spec, checkpoint, torch.device(device))
        for spec, checkpoint in zip(recipe.text, checkpoints, strict=True)
    ]
