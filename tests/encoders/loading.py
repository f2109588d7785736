"""Encoders as a run loads them, one kind alone."""

from __future__ import annotations

import functools

import torch

from energon_prep.demo.tiny import build_pipeline
from energon_prep.encoders import locate
from energon_prep.encoders import weights as loader
from energon_prep.encoders.base import TextEncoder, VisualEncoder
from energon_prep.recipes.model import Recipe

resolve = functools.partial(locate.resolve, build=build_pipeline)


def load_visual(
    recipe: Recipe, *, weights: str | None, device: torch.device | str
) -> VisualEncoder:
    source = resolve(recipe, weights=weights).visual
    return loader.load_visual(recipe, loader.open_encoder(source), device=device)


def load_texts(
    recipe: Recipe, *, weights: str | None, device: torch.device | str
) -> list[TextEncoder]:
    found = [loader.open_encoder(source) for source in resolve(recipe, weights=weights).texts]
    return loader.load_texts(recipe, found, device=device)
