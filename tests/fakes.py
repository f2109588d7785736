"""Encoders without a model and a source without files, for tests of what happens between the
stations.

The command line takes them as it takes any user's classes: ``--vae tests.fakes:MeanVisual``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from energon_prep.decode.image import Take, take_nothing
from energon_prep.errors import SampleError
from energon_prep.samples import Frames, Media, PendingSample, RawSample, TextEmbedding
from energon_prep.sources.account import Account
from energon_prep.sources.base import Entry, Piece


class MeanVisual:
    """Latent [16, T, H/8, W/8]: the mean over blocks of 8 x 8 pixels, plus the sample's place in
    its batch.

    The place makes batch composition visible in the bytes.
    """

    spatial_factor = 8
    temporal_factor = 1

    def __init__(self, **_given: Any) -> None:
        self.batches: list[tuple[int, ...]] = []

    def launch(self, pixels: torch.Tensor, seeds: Sequence[int]) -> Callable[[], torch.Tensor]:
        latents = self.encode(pixels, seeds)
        return lambda: latents

    def encode(self, pixels: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        b, t, h, w, _ = pixels.shape
        self.batches.append(tuple(pixels.shape))
        gray = pixels.float().mean(-1).reshape(b, t, h // 8, 8, w // 8, 8).mean((3, 5)) / 255
        place = torch.arange(b).reshape(b, 1, 1, 1)
        return (gray + place)[:, None].expand(b, 16, t, h // 8, w // 8).bfloat16()

    def move_to(self, device: torch.device | str) -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {}


class HashText:
    """One token a word, and an end token; each token's embedding [8] is made of its hash and the
    batch's length.
    """

    def __init__(self, *, max_tokens: int, **_given: Any) -> None:
        self._max_tokens = max_tokens
        self.captions: list[str] = []

    def tokenize(self, captions: Sequence[str]) -> list[list[int]]:
        self.captions += captions
        return [
            [int(hashlib.sha256(w.encode()).hexdigest()[:6], 16) % 1000 for w in c.split()] + [1]
            for c in captions
        ]

    def launch(self, token_ids: Sequence[Sequence[int]]) -> Callable[[], list[TextEmbedding]]:
        embeddings = self.encode(token_ids)
        return lambda: embeddings

    def encode(self, token_ids: Sequence[Sequence[int]]) -> list[TextEmbedding]:
        return [self._embed(ids) for ids in token_ids]

    def move_to(self, device: torch.device | str) -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {}

    def _embed(self, ids: Sequence[int]) -> TextEmbedding:
        kept = list(ids)[: self._max_tokens]
        hidden = torch.tensor(kept).reshape(-1, 1).float().expand(-1, 8) / 1000 + 1
        return TextEmbedding(
            hidden=hidden.bfloat16(),
            pooled=None,
            num_tokens=len(kept),
            truncated=len(kept) < len(ids),
        )


class Numbers:
    """A source of ``num`` samples whose media are their own numbers; those in ``broken`` fail to
    load.
    """

    def __init__(self, num: int, *, broken: frozenset[int] = frozenset()) -> None:
        self._num = num
        self._broken = broken

    def describe(self) -> dict[str, Any]:
        return {"kind": "numbers", "num": self._num}

    def list(self, account: Account) -> Iterator[Entry]:
        for i in range(self._num):
            account.find()
            account.add_sample()
            yield Entry("numbers", i, self._num)

    def read(self, piece: Piece) -> Iterator[PendingSample]:
        for i in range(piece.start, piece.start + piece.count):
            yield PendingSample(key=str(i), source=piece.path, load=lambda i=i: self._load(i))  # type: ignore[misc]

    def _load(self, i: int) -> RawSample:
        if i in self._broken:
            raise SampleError("read", "broken", f"number {i}")
        return RawSample(
            key=str(i),
            source="numbers",
            media_name=f"{i}.png",
            media=Media.of(b"%d" % i),
            captions=("word " * (i % 7),),
        )


def decode_number(raw: RawSample, take: Take = take_nothing) -> list[dict[str, Frames]]:
    """One clip, one frame of one of three shapes, all pixels the sample's number modulo 251."""
    number = int(raw.media.read())
    height, width = [(64, 64), (48, 80), (80, 48)][number % 3]
    pixels = np.full((1, height, width, 3), number % 251, dtype=np.uint8)
    return [
        {
            "64": Frames(
                pixels=pixels,
                original_height=height,
                original_width=width,
                crop=(0, 0, height, width),
            )
        }
    ]
