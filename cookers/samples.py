"""The typed sample that cookers make and task encoders batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from megatron.energon import Sample


@dataclass(frozen=True, kw_only=True)
class TextEmbeddings:
    """What a text part holds, in the dtypes in which it is stored."""

    text: torch.Tensor  #: [S, D], one row per token
    pooled: torch.Tensor | None = None  #: [D'], for text encoders that have one (CLIP)
    #: All that is stored, where it is stored by text encoder: {"t5": {"hidden": [S, D]}, "clip":
    #: {"pooled": [D']}}.
    encoders: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)


@dataclass(kw_only=True, slots=True)  # Energon 7's edataclass, which 5 and 6 do not have
class LatentSample(Sample):  # type: ignore[misc]
    """One precomputed sample, in the dtypes in which it is stored."""

    #: [C, T, H, W], ready for training; T == 1 for an image. With ``logvar``, the mean
    latent: torch.Tensor
    text: torch.Tensor  #: [S, D], one row per token
    pooled: torch.Tensor | None = None  #: [D'], for text encoders that have one (CLIP)
    #: as in TextEmbeddings
    encoders: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)
    #: [C, T, H, W], of stored moments: a draw is mean + exp(logvar / 2) * noise
    logvar: torch.Tensor | None = None
    metadata: dict[str, Any]  #: the JSON part

    @property
    def embeddings(self) -> TextEmbeddings:
        return TextEmbeddings(text=self.text, pooled=self.pooled, encoders=self.encoders)
