"""FLUX of Megatron-Bridge and DFM (``FluxTaskEncoder``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from energon_prep.samples import EncodedSample, TextEmbedding, sample_metadata
from energon_prep.targets.base import ContractError
from energon_prep.targets.checks import (
    require_keys,
    require_latent,
    require_parts,
    require_pooled,
    require_text,
    require_vector,
)

CHANNELS = 16
TEXT_WIDTH = 4096
POOLED_WIDTH = 768
MAX_TOKENS = 512


class Flux:
    """``pth`` latent [16, H, W], H and W even; ``pickle`` a dict with ``prompt_embeds`` [S, 4096],
    S <= 512, and ``pooled_prompt_embeds`` [768]; ``json`` metadata."""

    part_names: tuple[str, ...] = ("json", "pickle", "pth")
    text_names: tuple[str, ...] | None = ("t5", "clip")

    def build(self, sample: EncodedSample) -> dict[str, Any]:
        return {
            "json": sample_metadata(sample),
            "pickle": self.build_text(sample.texts),
            "pth": image_latent(sample.latent),
        }

    def build_text(self, texts: Mapping[str, TextEmbedding]) -> dict[str, torch.Tensor]:
        return {
            "prompt_embeds": texts["t5"].tokens,
            "pooled_prompt_embeds": require_pooled(texts, "clip"),
        }

    def check(self, parts: Mapping[str, Any]) -> None:
        require_parts(parts, self.part_names)
        require_keys("json", parts["json"], ())
        text = parts["pickle"]
        require_keys("pickle", text, ("prompt_embeds", "pooled_prompt_embeds"))
        require_text(
            "pickle prompt_embeds",
            text["prompt_embeds"],
            max_tokens=MAX_TOKENS,
            width=TEXT_WIDTH,
            tensor=True,
        )
        require_vector(
            "pickle pooled_prompt_embeds", text["pooled_prompt_embeds"], width=POOLED_WIDTH
        )
        require_latent("pth", parts["pth"], ndim=3, patch=2, channels=CHANNELS)


def image_latent(latent: torch.Tensor) -> torch.Tensor:
    """[C, 1, H, W] -> [C, H, W]. Raises ContractError for a clip."""
    if latent.shape[1] != 1:
        raise ContractError(f"the latent has {latent.shape[1]} frames: this target takes images")
    return latent[:, 0].clone()
