from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from energon_prep.pipeline.batch import by_length, by_shape


@given(st.lists(st.integers(0, 4)), st.integers(1, 5))
def test_by_shape_groups_every_item_once_in_order(shapes: list[int], capacity: int) -> None:
    items = list(enumerate(shapes))
    groups = list(by_shape(items, shape=lambda item: item[1], capacity=lambda _: capacity))
    assert sorted(item for group in groups for item in group) == items
    for group in groups:
        assert len({shape for _, shape in group}) == 1
        assert len(group) <= capacity
        assert group == sorted(group)
    for shape in set(shapes):
        sizes = [len(group) for group in groups if group[0][1] == shape]
        rest = sum(sizes) % capacity
        tail = sizes[len(sizes) - bin(rest).count("1") :] if rest else []
        assert all(size == capacity for size in sizes[: len(sizes) - len(tail)]), (
            "only the last groups may be short"
        )
        assert sum(tail) == rest
        assert all(size.bit_count() == 1 for size in tail), "few batch sizes: powers of two"


def test_by_shape_gives_a_full_group_out_at_once() -> None:
    seen = []

    def items() -> object:
        for i in range(4):
            seen.append(i)
            yield i

    first = next(iter(by_shape(items(), shape=lambda _: 0, capacity=lambda _: 2)))  # type: ignore[arg-type]
    assert first == [0, 1]
    assert seen == [0, 1], "a full group must not wait for the rest of the shard"


def test_a_shape_beyond_the_budget_is_encoded_alone() -> None:
    assert list(by_shape([1, 2], shape=lambda _: 0, capacity=lambda _: 0)) == [[1], [2]]


@given(st.lists(st.integers(1, 600), max_size=60), st.integers(1, 2000))
def test_by_length_keeps_to_the_budget(lengths: list[int], budget: int) -> None:
    batches = by_length(lengths, budget=budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget
    longest = [max(lengths[i] for i in batch) for batch in batches]
    assert longest == sorted(longest)
