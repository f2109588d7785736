"""Several samples in one sequence, through Energon's packing hooks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

import torch
from megatron.energon import Sample

T = TypeVar("T")


def first_fit_decreasing(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Packs of indices into ``lengths``: longest first, each into the first pack that has room for
    it.

    Raises ValueError for a length that no pack holds.
    """
    packs: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if lengths[index] > capacity:
            raise ValueError(f"a sequence of {lengths[index]} tokens, and a pack holds {capacity}")
        place = next((pack for pack, left in enumerate(room) if left >= lengths[index]), len(packs))
        if place == len(packs):
            packs.append([])
            room.append(capacity)
        packs[place].append(index)
        room[place] -= lengths[index]
    return packs


def pack(samples: Sequence[T], lengths: Sequence[int], capacity: int) -> list[list[T]]:
    """Packs of samples, in an order drawn from ``random``, which Energon seeds: full packs come
    first otherwise.
    """
    packs = [
        [samples[index] for index in indices] for indices in first_fit_decreasing(lengths, capacity)
    ]
    random.shuffle(packs)
    return packs


def join(samples: Sequence[Any], **values: Any) -> Any:
    """One sample after the other: tensors and lists are concatenated. ``values`` replace fields of
    the result.
    """
    first = samples[0]
    # which they are depends on the version
    own = {field.name: getattr(first, field.name) for field in fields(Sample)}
    joined: dict[str, Any] = {}
    for name in (field.name for field in fields(first)):
        stored = [getattr(sample, name) for sample in samples]
        if name in own or name in values:
            continue
        if isinstance(stored[0], torch.Tensor):
            joined[name] = torch.cat(stored)
        elif isinstance(stored[0], list):
            joined[name] = [item for items in stored for item in items]
        else:
            raise TypeError(f"{type(first).__name__}.{name} is neither a tensor nor a list")
    own["__key__"] = ",".join(sample.__key__ for sample in samples)
    own["__restore_key__"] = ()  # Energon's packing sets it
    if "__sources__" in own:
        own["__sources__"] = tuple(
            source for sample in samples for source in sample.__sources__ or ()
        )
    return type(first)(**own, **joined, **values)


def require_length(name: str, length: int | None) -> None:
    """Raise ValueError for a length that no sequence has."""
    if length is not None and length < 1:
        raise ValueError(f"{name}={length}: give a number of tokens, 1 or more")


def require_one_pack(batch_size: int | None) -> None:
    """A batch is one pack: of more, the trainers would train on the first alone. Raises
    ValueError.
    """
    if batch_size != 1:
        raise ValueError(
            f"batch_size={batch_size}: a batch is one pack of samples, so pass batch_size=1"
        )
