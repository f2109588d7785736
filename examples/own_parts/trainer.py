"""A target: what one trainer reads. Latent and text are two tensors, and what is left is JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from energon_prep.samples import EncodedSample
from energon_prep.targets import ContractError


class ShapesTrainer:
    """``latent.pth`` [C, H, W] and ``text.pth`` [S, D], float32; ``json`` with the caption."""

    part_names = ("json", "latent.pth", "text.pth")
    text_names = ("words",)  # what the recipe must call its text encoders

    def build(self, sample: EncodedSample) -> dict[str, Any]:
        return {
            "json": {"caption": sample.info.caption, "key": sample.info.key},
            "latent.pth": sample.latent[:, 0].clone(),
            "text.pth": sample.texts["words"].tokens,
        }

    def check(self, parts: Mapping[str, Any]) -> None:
        """What encode asks before it writes a sample, and verify of every sample that is there."""
        if "caption" not in parts["json"]:
            raise ContractError("json lacks the key 'caption'")
        for name, ndim in (("latent.pth", 3), ("text.pth", 2)):
            tensor = parts[name]
            if not isinstance(tensor, torch.Tensor) or tensor.ndim != ndim:
                raise ContractError(f"{name} is no tensor of {ndim} dimensions")
            if not tensor.isfinite().all():
                raise ContractError(f"{name} has NaN or Inf")
