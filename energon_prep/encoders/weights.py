"""Station 3, encoders: from a recipe and ``--weights`` to loaded encoders; the one place that knows both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from energon_prep.encoders.base import TextEncoder, VisualEncoder
from energon_prep.encoders.catalog import Size, is_id_or_folder, lookup
from energon_prep.encoders.checkpoint import EncoderSource, open_checkpoint, text_subfolders
from energon_prep.encoders.tiny import build_pipeline
from energon_prep.errors import PrepError
from energon_prep.recipes.model import Recipe, Text, Visual

_SIZES: dict[str, Size] = {"tiny": "tiny", "random": "random"}


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where a recipe's encoders come from."""

    visual: EncoderSource
    texts: tuple[EncoderSource, ...]  #: in the recipe's order


def resolve(recipe: Recipe, *, weights: str | None) -> Sources:
    """Say where each encoder of ``recipe`` is to be looked for; tiny and random weights are built if need be.

    ``weights``: None for each encoder's own ``model`` (alias, hub id, folder of a model or of a pipeline); "tiny" or
    "random"; or the folder or hub id of a pipeline (vae/, text_encoder/, tokenizer/, text_encoder_2/ ...) that has
    them all. Raises PrepError for a name that is none of these.
    """
    if weights is None:
        texts = tuple(_own_source("text", spec) for spec in recipe.text)
        return Sources(visual=_own_source("visual", recipe.visual), texts=texts)
    built = _SIZES.get(weights)
    if built is None and not is_id_or_folder(weights):
        raise PrepError(
            f"--weights '{weights}' is neither a pipeline's folder or hub id (owner/name) nor tiny or random; "
            "a single model is named with --model or --vae"
        )
    location = str(build_pipeline(recipe, built)) if built else weights
    return Sources(
        visual=EncoderSource(kind="visual", location=location, subfolders=("vae",), built=built),
        texts=tuple(
            EncoderSource(kind="text", location=location, subfolders=(subfolder,), built=built)
            for subfolder in text_subfolders([spec.subfolder for spec in recipe.text])
        ),
    )


def load_visual(recipe: Recipe, *, weights: str | None, device: torch.device | str) -> VisualEncoder:
    """Load the visual encoder, frozen, on ``device``. Raises PrepError if it cannot be had or does not work."""
    from energon_prep.encoders.visual_weights import load_visual_encoder

    checkpoint = open_checkpoint(resolve(recipe, weights=weights).visual)
    typical = (recipe.frames.num_frames, *recipe.resize.resolution)
    return load_visual_encoder(recipe.visual, checkpoint, torch.device(device), typical=typical)


def load_texts(recipe: Recipe, *, weights: str | None, device: torch.device | str) -> list[TextEncoder]:
    """Load the text encoders in the recipe's order, frozen, on ``device``. Raises PrepError as ``load_visual`` does."""
    from energon_prep.encoders.text_weights import load_text

    sources = resolve(recipe, weights=weights).texts
    return [
        load_text(spec, open_checkpoint(source), torch.device(device))
        for spec, source in zip(recipe.text, sources, strict=True)
    ]


def _own_source(kind: Literal["visual", "text"], spec: Visual | Text) -> EncoderSource:
    """Where the recipe's own ``model`` is: at the root of its repository or folder, or in a pipeline's subfolder."""
    info = lookup(spec.model)
    if info is None:
        usual = "vae" if kind == "visual" else "text_encoder"
        subfolders = (spec.subfolder, "") if spec.subfolder else ("", usual)
        return EncoderSource(kind=kind, location=spec.model, subfolders=subfolders, revision=spec.revision)
    return EncoderSource(kind=kind, location=info.hf_id, subfolders=(info.subfolder,), revision=spec.revision)
