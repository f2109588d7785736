"""Pure functions of the samples' order and sizes, so that batches never depend on timing."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


def by_shape(
    items: Iterable[T], *, shape: Callable[[T], K], capacity: Callable[[K], int]
) -> Iterator[list[T]]:
    """Groups of equal shape, each given out when it holds ``capacity(shape)`` items.

    What is left at the end comes in the order in which the shapes were first seen, cut into powers
    of two: the libraries underneath keep a plan for every batch size they meet, so few sizes are
    lighter than a few calls more.
    """
    groups: dict[K, list[T]] = {}
    most: dict[K, int] = {}
    for item in items:
        key = shape(item)
        if key not in most:
            most[key] = max(1, capacity(key))
        group = groups.setdefault(key, [])
        group.append(item)
        if len(group) >= most[key]:
            yield groups.pop(key)
    for group in groups.values():
        yield from _powers_of_two(group)


def by_length(lengths: Sequence[int], *, budget: int, count: int | None = None) -> list[list[int]]:
    """Indices in batches of similar length: in each, items * longest <= ``budget`` (one item is
    always allowed).

    With ``count``, batches of so many items instead.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        # Sorted upwards, so the newcomer is the longest of its batch.
        size = len(batches[-1]) + 1 if batches else 0
        if size and (size <= count if count else size * lengths[index] <= budget):
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def _powers_of_two(group: list[T]) -> Iterator[list[T]]:
    """7 items as 4 + 2 + 1."""
    while group:
        size = 1 << (len(group).bit_length() - 1)
        yield group[:size]
        group = group[size:]
