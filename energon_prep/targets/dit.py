"""The DiT of DFM (``DiTTaskEncoder``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from energon_prep.samples import EncodedSample, TextEmbedding, sample_metadata
from energon_prep.targets.checks import require_keys, require_latent, require_parts, require_text

MAX_TOKENS = 512  #: DFM cuts longer embeddings, but not their mask


class DiT:
    """``json`` metadata, ``pth`` latent [C, T, H, W], ``pickle`` torch.Tensor [S, D] with S <=
    512.
    """

    part_names: tuple[str, ...] = ("json", "pickle", "pth")
    text_names: tuple[str, ...] | None = ("t5",)

    def build(self, sample: EncodedSample) -> dict[str, Any]:
        return {
            "json": sample_metadata(sample),
            "pickle": self.build_text(sample.texts),
            "pth": sample.latent,
        }

    def build_text(self, texts: Mapping[str, TextEmbedding]) -> torch.Tensor:
        return texts["t5"].tokens

    def check(self, parts: Mapping[str, Any]) -> None:
        require_parts(parts, self.part_names)
        require_keys("json", parts["json"], ())
        require_text("pickle", parts["pickle"], max_tokens=MAX_TOKENS, tensor=True)
        require_latent("pth", parts["pth"], ndim=4, patch=2)
