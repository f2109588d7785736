"""Classes of users for tests/test_plugins.py: some do as little as they may, others do it wrong."""

from __future__ import annotations

import os
import signal
from typing import Any

import torch

from energon_prep.samples import TextEmbedding
from energon_prep.targets.dit import DiT


class Halves:
    """A visual encoder that is a module of torch, and no more than ``encode``."""

    def __init__(self, device: torch.device, dtype: torch.dtype, factor: int = 8) -> None:
        self.factor = factor
        self.where = [str(device)]

    def encode(self, pixels: torch.Tensor, seeds: Any) -> torch.Tensor:
        step = self.factor
        return pixels[:, 0, ::step, ::step].permute(0, 3, 1, 2).double() / 2

    def to(self, device: torch.device) -> Halves:
        self.where.append(str(device))
        return self


class Letters:
    """A text encoder without a tokenizer: [letters, 2] of each caption."""

    def __init__(self, device: torch.device, dtype: torch.dtype, max_tokens: int) -> None:
        self.given: list[list[str]] = []

    def encode(self, captions: list[str]) -> list[Any]:
        self.given.append(captions)
        batch = torch.ones(len(captions), 8, 2)
        return [row[: len(caption)] for row, caption in zip(batch, captions, strict=True)]


class Pooled(Letters):
    def encode(self, captions: list[str]) -> list[Any]:
        pooled = torch.ones(3, dtype=torch.float64)
        given = {"hidden": None, "pooled": pooled, "num_tokens": 2, "truncated": True}
        return [TextEmbedding(**given) for _ in captions]


class Silent(Letters):
    def encode(self, captions: list[str]) -> list[Any]:
        return []


class Wordy(Letters):
    def describe(self) -> dict[str, Any]:
        return {"weights": object()}


class Nothing:
    """Lacks everything."""


class Broken:
    """Cannot be made."""

    def __init__(self, **given: Any) -> None:
        raise OSError("the checkpoint is gone")

    def encode(self) -> None: ...


class OffByOne:
    """A source that reads one sample less than it lists."""

    def __init__(self, root: str, options: Any) -> None: ...

    def list(self, account: Any) -> Any:
        from energon_prep.sources.base import Entry

        yield from (Entry("a", number, 1) for number in range(2))

    def read(self, piece: Any) -> Any:
        yield from range(piece.count - 1)


NO_CLASS = 3


class Deadly(DiT):
    """A target that kills the process that checks a sample."""

    def check(self, parts: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
