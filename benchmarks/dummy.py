"""Encoders without models, which cost next to nothing: an encode with them shows what the rest
costs.

Recipes take them as any user's classes: ``visual.model: benchmarks.dummy:DummyVisual``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from energon_prep.samples import TextEmbedding

#: Changes of a recipe.
DUMMIES = {
    "visual.model": "benchmarks.dummy:DummyVisual",
    "text.model": "benchmarks.dummy:DummyText",
}


class DummyVisual:
    """Every 8th pixel of the first colour, 16 times over: a latent [16, T, H/8, W/8] in
    bfloat16.
    """

    spatial_factor = 8
    temporal_factor = 1

    def __init__(self, **_given: Any) -> None:
        """There is nothing to load."""

    def encode(self, pixels: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        small = pixels[:, :, ::8, ::8, 0].to(torch.bfloat16).div_(255)
        return small[:, None].expand(-1, 16, -1, -1, -1)


class DummyText:
    """One token a word; embeddings [S, width] in bfloat16 are slices of one that is made once."""

    def __init__(self, *, max_tokens: int, width: int = 64, **_given: Any) -> None:
        self._most = max_tokens
        numbers = torch.linspace(0.1, 1, 2 * max_tokens * width, dtype=torch.bfloat16)
        self._hidden = numbers.reshape(-1, width)

    def tokenize(self, captions: Sequence[str]) -> list[list[int]]:
        return [[len(word) for word in caption.split()] for caption in captions]

    def encode(self, token_ids: Sequence[Sequence[int]]) -> list[TextEmbedding]:
        return [self._embed(ids) for ids in token_ids]

    def _embed(self, ids: Sequence[int]) -> TextEmbedding:
        num, start = min(len(ids), self._most), sum(ids) % self._most
        hidden = self._hidden[start : start + num].clone()
        return TextEmbedding(hidden=hidden, pooled=None, num_tokens=num, truncated=num < len(ids))
