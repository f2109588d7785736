"""Several samples in one sequence, through Energon's packing hooks."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from megatron.energon import Sample, WorkerConfig

from task_encoders.draws import shuffle

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: What a packing buffer should hold, in packs' worth of samples: python -m benchmarks.packing
ENOUGH_PACKS = 10
#: Below this the buffer is called small: chance alone does not make it of ENOUGH_PACKS.
FEW_PACKS = 5
#: Share of the packs below which a larger buffer gains nothing.
LITTLE_PADDING = 0.01


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
    """Packs of samples, in an order that is drawn: full packs come first otherwise."""
    packs = [
        [samples[index] for index in indices] for indices in first_fit_decreasing(lengths, capacity)
    ]
    shuffle(packs)
    return packs


@dataclass(kw_only=True)
class PackingBuffer:
    """Packs what Energon's packing buffer holds, and says once if that is too little to fill
    packs.
    """

    size: int | None = None  #: samples; None if nothing is packed
    advised: bool = False

    def pack(self, samples: Sequence[T], lengths: Sequence[int], capacity: int) -> list[list[T]]:
        """As ``pack`` does."""
        packs = pack(samples, lengths, capacity)
        if not self.advised and self.size is not None and len(samples) >= self.size:
            self.advised = True  # of the first buffer: the others are like it
            self._advise(sum(lengths), len(packs), capacity)
        return packs

    def _advise(self, total: int, num_packs: int, capacity: int) -> None:
        assert self.size is not None
        config = WorkerConfig.active_worker_config
        if config is not None and (config.rank or config.rank_worker_id()):
            return  # one worker says it for all
        padding = 1 - total / (num_packs * capacity)
        if total >= FEW_PACKS * capacity or padding < LITTLE_PADDING:
            return
        logger.warning(
            "packing_buffer_size=%d: the buffer holds %.1f packs' worth of samples, and %.0f%% of "
            "their packs are padding; with %d it holds %d, which fills packs better",
            self.size,
            total / capacity,
            100 * padding,
            math.ceil(self.size * ENOUGH_PACKS * capacity / total),
            ENOUGH_PACKS,
        )


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


def require_packing(
    name: str, length: int | None, *, batch_size: int | None, packing_buffer_size: int | None
) -> None:
    """Of a task encoder that stacks without ``length``, its argument ``name``. Raises ValueError
    for packs of no size, or several a batch.
    """
    if (packing_buffer_size is None) != (length is None):
        raise ValueError(
            f"{name}={length} and packing_buffer_size={packing_buffer_size}: packing needs both, "
            "the length of a pack and the number of samples to choose from; stacking neither"
        )
    if packing_buffer_size is not None:
        require_one_pack(batch_size)


def require_one_pack(batch_size: int | None) -> None:
    """A batch is one pack: of more, the trainers would train on the first alone. Raises
    ValueError.
    """
    if batch_size != 1:
        raise ValueError(
            f"batch_size={batch_size}: a batch is one pack of samples, so pass batch_size=1"
        )
