"""WAN of Megatron-Bridge and DFM (``WanTaskEncoder``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from energon_prep.samples import EncodedSample, TextEmbedding, sample_metadata
from energon_prep.targets.checks import require_keys, require_latent, require_parts, require_text

CHANNELS = 16
TEXT_WIDTH = 4096
MAX_TOKENS = 512  #: the trainer pads with zeros to this, as the model's pipeline does


class Wan:
    """``pth`` latent [16, F, H, W], H and W even; ``pickle`` torch.Tensor [S, 4096], unpadded;
    ``json`` metadata.
    """

    part_names: tuple[str, ...] = ("json", "pickle", "pth")
    text_names: tuple[str, ...] | None = ("umt5",)

    def build(self, sample: EncodedSample) -> dict[str, Any]:
        return {
            "json": sample_metadata(sample),
            "pickle": self.build_text(sample.texts),
            "pth": sample.latent,
        }

    def build_text(self, texts: Mapping[str, TextEmbedding]) -> torch.Tensor:
        return texts["umt5"].tokens

    def check(self, parts: Mapping[str, Any]) -> None:
        require_parts(parts, self.part_names)
        require_keys("json", parts["json"], ())
        require_text(
            "pickle", parts["pickle"], max_tokens=MAX_TOKENS, width=TEXT_WIDTH, tensor=True
        )
        require_latent("pth", parts["pth"], ndim=4, patch=2, channels=CHANNELS)
