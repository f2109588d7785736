"""A window: samples of one shard that are batched together and held in memory, as it goes from
station to station.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch

from energon_prep.plan.shards import ShardPlan
from energon_prep.samples import DecodedSample, EncodedSample, PendingSample, Reject, SampleInfo

#: What became of one raw sample: its clips, of which an image has one.
Clips: TypeAlias = list[DecodedSample]

#: By serial, picture and resolution: [C, T', H', W'] on the CPU.
Latents: TypeAlias = dict[tuple[int, int, str], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Window:
    """What all of them carry."""

    shard: ShardPlan
    is_last: bool  #: of its shard


@dataclass(frozen=True, kw_only=True)
class PendingWindow(Window):
    num_samples: int
    samples: Iterator[tuple[int, PendingSample]]  #: with their serials; taken once


@dataclass(frozen=True, kw_only=True)
class DecodedWindow(Window):
    outcomes: Iterator[Clips | Reject]  #: in the samples' order; taken once, decoded meanwhile


@dataclass(frozen=True, kw_only=True)
class LatentWindow(Window):
    """Whose captions are still to be encoded."""

    order: list[list[SampleInfo] | Reject]
    latents: Latents

    @property
    def num_bytes(self) -> int:
        return sum(latent.nbytes for latent in self.latents.values())


@dataclass(frozen=True, kw_only=True)
class EncodedWindow(Window):
    outcomes: list[list[EncodedSample] | Reject]
