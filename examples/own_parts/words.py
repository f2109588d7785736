"""A text encoder that needs no model: a vector for every word."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch


class HashedWords:
    """A caption's embedding is [words, width], of the empty one [1, width]."""

    def __init__(
        self, *, device: torch.device, dtype: torch.dtype, max_tokens: int, width: int = 32
    ) -> None:
        self.max_tokens = max_tokens
        self.width = width

    def encode(self, captions: Sequence[str]) -> list[torch.Tensor]:
        return [
            torch.stack(
                [self.vector(word) for word in (caption.split() or [""])[: self.max_tokens]]
            )
            for caption in captions
        ]

    def vector(self, word: str) -> torch.Tensor:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big", signed=True)
        return torch.randn(self.width, generator=torch.Generator().manual_seed(seed))
