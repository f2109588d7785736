"""From a recipe and ``--weights`` to the place of each encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from energon_prep.encoders.catalog import Size, is_id_or_folder, is_own, lookup
from energon_prep.encoders.checkpoint import EncoderSource, text_subfolders
from energon_prep.encoders.repositories import pipeline_has
from energon_prep.errors import UsageError
from energon_prep.recipes.model import Recipe, Text, Visual

_SIZES: dict[str, Size] = {"tiny": "tiny", "random": "random"}

#: Makes a pipeline of a recipe's models with weights that nobody trained, and says where it lies.
Builder = Callable[[Recipe, Size], Path]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where a recipe's encoders come from."""

    visual: EncoderSource
    texts: tuple[EncoderSource, ...]  #: in the recipe's order

    def __iter__(self) -> Iterator[EncoderSource]:
        return iter((self.visual, *self.texts))


def locate(recipe: Recipe, *, weights: str | None) -> Sources:
    """Say where each encoder of ``recipe`` is to be looked for; the location of those to be built
    is "".

    ``weights``: "tiny" or "random"; or the folder or hub id of a pipeline (vae/, text_encoder/,
    tokenizer/, text_encoder_2/ ...) that has them all; None: the recipe's own ``pipeline``, as far
    as it has them. A model that the user named is taken from where the name says, but of an alias
    tiny and random weights can be made. Raises PrepError for a name that is none of these.
    """
    if weights is not None and weights not in _SIZES and not is_id_or_folder(weights):
        raise UsageError(
            f"--weights '{weights}' is neither a pipeline's folder or hub id (owner/name) nor "
            "tiny or random; a single model is named with --model or --vae"
        )
    subfolders = text_subfolders([spec.subfolder for spec in recipe.text])
    return Sources(
        visual=_source("visual", recipe.visual, "vae", recipe, weights),
        texts=tuple(
            _source("text", spec, subfolder, recipe, weights)
            for spec, subfolder in zip(recipe.text, subfolders, strict=True)
        ),
    )


def resolve(recipe: Recipe, *, weights: str | None, build: Builder) -> Sources:
    """As ``locate``, and has tiny and random weights built if need be."""
    sources = locate(recipe, weights=weights)
    size = next((source.built for source in sources if source.built), None)
    if size is None:
        return sources
    folder = str(build(recipe, size))
    visual, *texts = (dataclasses.replace(s, location=folder) if s.built else s for s in sources)
    return Sources(visual=visual, texts=tuple(texts))


def _source(
    kind: Literal["visual", "text"],
    spec: Visual | Text,
    subfolder: str,
    recipe: Recipe,
    weights: str | None,
) -> EncoderSource:
    """``subfolder``: of a pipeline."""
    if is_own(kind, spec.model):
        return EncoderSource(kind=kind, location=spec.model, subfolders=(), own=True)
    if spec.options:
        raise UsageError(
            f"{kind}.options are for a class of your own, and {kind} encoder {spec.model!r} "
            "is none: leave them out, or give package.module:Class (docs/extending.md)"
        )
    info = lookup(spec.model)
    size = _SIZES.get(weights or "")
    if size is not None and (info is not None or not spec.named):
        return EncoderSource(kind=kind, location="", subfolders=(subfolder,), built=size)
    if weights is not None and not spec.named:
        return EncoderSource(kind=kind, location=weights, subfolders=(subfolder,))
    pipeline = recipe.pipeline
    if pipeline and info and pipeline_has(pipeline, info.alias, subfolder):
        return EncoderSource(
            kind=kind, location=pipeline, subfolders=(subfolder,), revision=spec.revision
        )
    if info is not None:
        return EncoderSource(
            kind=kind, location=info.hf_id, subfolders=(info.subfolder,), revision=spec.revision
        )
    usual = "vae" if kind == "visual" else "text_encoder"
    own = (spec.subfolder, "") if spec.subfolder else ("", usual)
    return EncoderSource(kind=kind, location=spec.model, subfolders=own, revision=spec.revision)
