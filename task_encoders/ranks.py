"""Ranks that read different samples and must take the same number of steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from task_encoders.errors import DataError
from task_encoders.runs import factory_of

T = TypeVar("T")

_GOES_ON, _ENDS, _FAILS = range(3)


def in_step(batches: Iterable[T], group: Any = None) -> Iterator[T]:
    """The batches of this rank, as long as every rank has one::

        for batch in in_step(loader):
            ...

    All ranks stop after the same number of steps, that of the one with the fewest batches; what
    another one had left is dropped. An error while one loads is raised on all, as DataError with
    that rank's words, instead of leaving the others to wait in a collective.

    ``group``: the data parallel ranks, of a backend that works on the CPU; by default a new gloo
    group of all ranks. It costs an exchange of one number a step. Without torch.distributed the
    batches come as they are.
    """
    if not dist.is_initialized():
        yield from batches
        return
    own = None if group is not None else dist.new_group(backend="gloo")
    try:
        yield from _in_step(iter(batches), own if group is None else group)
    finally:
        if own is not None and dist.is_initialized():
            dist.destroy_process_group(own)  # its threads and connections: each epoch has another


def fixed_batches(loader: Iterable[T], num_batches: int) -> Iterator[T]:
    """Exactly that many batches, on every rank, however many its share of a validation set makes:
    a loader that ends sooner begins again.

    Raises DataError for one that gives none.
    """
    given = 0
    while given < num_batches:
        before = given
        for batch in loader:
            yield batch
            given += 1
            if given == num_batches:
                return
        if given == before:
            raise DataError(
                "the validation loader gives no batch on this rank: give it samples (a split with "
                "more shards, fewer workers and ranks), or filters that leave it some"
            )


def require_samples(datasets: Sequence[Any], worker_config: Any, *, endless: bool) -> None:
    """Raise ValueError, on every rank alike, if there are fewer samples than must have one: each
    worker of data that repeat for ever, else each rank.
    """
    sizes = [_size(item) for item in datasets]
    if any(size is None for size in sizes):
        return
    total = sum(size for size in sizes if size is not None)
    workers = max(worker_config.num_workers, 1)
    ranks = worker_config.world_size
    needed = ranks * workers if endless else ranks
    if total < needed:
        raise ValueError(
            f"{total} samples for {ranks} ranks of {workers} workers each, of which "
            f"{'every worker' if endless else 'every rank'} needs one: take fewer of them, or more "
            "samples"
        )


def _size(item: Any) -> int | None:
    """Samples of a dataset as Energon hands it over; None where it does not say."""
    factory = factory_of(item)
    return len(factory) if hasattr(factory, "__len__") else None


def _in_step(iterator: Iterator[T], group: Any) -> Iterator[T]:
    while True:
        batch, state, error = _next(iterator)
        worst = torch.tensor([state])
        dist.all_reduce(worst, op=dist.ReduceOp.MAX, group=group)
        if int(worst) == _FAILS:
            _raise_everywhere(error, group)
        if int(worst) == _ENDS:
            return
        yield batch


def _next(iterator: Iterator[T]) -> tuple[Any, int, Exception | None]:
    try:
        return next(iterator), _GOES_ON, None
    except StopIteration:
        return None, _ENDS, None
    except Exception as error:  # noqa: BLE001 - raised again below, on every rank
        return None, _FAILS, error


def _raise_everywhere(error: Exception | None, group: Any) -> None:
    told: list[str | None] = [None] * dist.get_world_size(group)
    dist.all_gather_object(told, None if error is None else str(error), group=group)
    if error is not None:
        raise error
    rank, said = next((rank, said) for rank, said in enumerate(told) if said is not None)
    raise DataError(f"rank {rank} cannot go on: {said}")
