from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from megatron.energon import Sample, edataclass

from task_encoders.packing import first_fit_decreasing, join, pack, require_one_pack


@edataclass
class Row(Sample):
    values: torch.Tensor
    names: list[str]
    flag: bool = False


def row(key: str, *values: int) -> Row:
    return Row(
        __key__=key,
        __restore_key__=(key,),
        __subflavors__={"a": 1},
        values=torch.tensor(values),
        names=[key],
    )


@given(lengths=st.lists(st.integers(1, 50), max_size=60))
def test_packs_hold_everything_once_and_are_at_least_half_full(lengths: list[int]) -> None:
    packs = first_fit_decreasing(lengths, 50)
    assert sorted(index for indices in packs for index in indices) == list(range(len(lengths)))
    filled = [sum(lengths[index] for index in indices) for indices in packs]
    assert all(0 < total <= 50 for total in filled)
    assert sum(total <= 25 for total in filled) <= 1  # two of these would have become one


def test_longest_first_each_into_the_first_pack_with_room() -> None:
    assert first_fit_decreasing([3, 7, 5, 4, 1], 10) == [[1, 0], [2, 3, 4]]


def test_a_sequence_that_no_pack_holds() -> None:
    with pytest.raises(ValueError, match="a sequence of 11 tokens, and a pack holds 10"):
        first_fit_decreasing([3, 11], 10)


def test_the_order_of_packs_is_drawn() -> None:
    def packs(seed: int) -> list[list[str]]:
        random.seed(seed)
        return pack(list("abcdef"), [6] * 6, 10)

    assert packs(1) == packs(1)
    assert any(packs(seed) != packs(1) for seed in range(2, 9))


def test_join() -> None:
    joined = join([row("a", 1, 2), row("b", 3)], flag=True)
    assert (joined.__key__, joined.__restore_key__, joined.__subflavors__) == ("a,b", (), {"a": 1})
    assert joined.values.tolist() == [1, 2, 3]
    assert joined.names == ["a", "b"]
    assert joined.flag
    with pytest.raises(TypeError, match=r"Row\.flag is neither a tensor nor a list"):
        join([row("a", 1)])


@pytest.mark.parametrize("batch_size", [None, 2])
def test_a_batch_is_one_pack(batch_size: int | None) -> None:
    require_one_pack(1)
    with pytest.raises(ValueError, match=f"batch_size={batch_size}"):
        require_one_pack(batch_size)
