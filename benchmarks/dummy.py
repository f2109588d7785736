"""Encoders without models, which cost next to nothing: with them an encode shows what everything else costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from energon_prep.executors.job import Encoders, Job
from energon_prep.samples import TextEmbedding


def load_dummies(job: Job, *args: Any, width: int = 64, **options: Any) -> Encoders:
    """In the place of ``energon_prep.executors.job.load_encoders``. ``width``: of the text's embeddings."""
    torch.set_num_threads(job.torch_threads)
    return Encoders(
        visual=DummyVisual(), texts=tuple(DummyText(text.name, text.max_tokens, width) for text in job.recipe.text)
    )


class DummyVisual:
    """Every 8th pixel of the first colour, 16 times over: a latent [16, T, H/8, W/8] in bfloat16."""

    spatial_factor = 8
    temporal_factor = 1
    channels = 16
    images_only = False

    def launch(self, pixels: torch.Tensor, seeds: Sequence[int]) -> Callable[[], torch.Tensor]:
        latents = self.encode(pixels, seeds)
        return lambda: latents

    def encode(self, pixels: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        small = pixels[:, :, ::8, ::8, 0].to(torch.bfloat16).div_(255)
        return small[:, None].expand(-1, self.channels, -1, -1, -1)

    def move_to(self, device: torch.device | str) -> None:
        """There is nothing to move."""

    def describe(self) -> dict[str, Any]:
        return {"class": "DummyVisual"}


class DummyText:
    """One token a word; embeddings [S, width] in bfloat16 are slices of one that is made once."""

    def __init__(self, name: str, most: int, width: int) -> None:
        self.name = name
        self._most = most
        self._hidden = torch.linspace(0.1, 1, 2 * most * width, dtype=torch.bfloat16).reshape(-1, width)

    def tokenize(self, captions: Sequence[str]) -> list[list[int]]:
        return [[len(word) for word in caption.split()] for caption in captions]

    def launch(self, token_ids: Sequence[Sequence[int]]) -> Callable[[], list[TextEmbedding]]:
        embeddings = self.encode(token_ids)
        return lambda: embeddings

    def encode(self, token_ids: Sequence[Sequence[int]]) -> list[TextEmbedding]:
        return [self._embed(ids) for ids in token_ids]

    def move_to(self, device: torch.device | str) -> None:
        """There is nothing to move."""

    def describe(self) -> dict[str, Any]:
        return {"class": "DummyText", "name": self.name}

    def _embed(self, ids: Sequence[int]) -> TextEmbedding:
        num, start = min(len(ids), self._most), sum(ids) % self._most
        hidden = self._hidden[start : start + num].clone()
        return TextEmbedding(hidden=hidden, pooled=None, num_tokens=num, truncated=num < len(ids))
