"""Station 9, cookers: the typed sample that cookers make and task encoders batch."""

from __future__ import annotations

from typing import Any

import torch
from megatron.energon import Sample, edataclass


@edataclass
class LatentSample(Sample):  # type: ignore[misc]
    """One precomputed sample, in the dtypes in which it is stored."""

    latent: torch.Tensor  #: [C, T, H, W]; T == 1 for an image
    text: torch.Tensor  #: [S, D], one row per token
    pooled: torch.Tensor | None = None  #: [D'], for text encoders that have one (CLIP)
    metadata: dict[str, Any]  #: the JSON part
