from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from megatron.energon import Sample, WorkerConfig, edataclass

from task_encoders import DiTTaskEncoder, NeMoDiTTaskEncoder, WanTaskEncoder
from task_encoders.packing import (
    PackingBuffer,
    first_fit_decreasing,
    join,
    pack,
    require_one_pack,
)
from tests.task_encoders.trainers import WIDTH, encode, sample


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


@pytest.mark.parametrize(
    ("encoder", "name"),
    [
        (WanTaskEncoder(seq_length=64, text_width=WIDTH), "context_embeddings"),
        (DiTTaskEncoder(seq_length=64), "context_embeddings"),
        (NeMoDiTTaskEncoder(max_seq_length=64), "t5_text_embeddings"),
    ],
)
def test_the_buffer_holds_text_unpadded(encoder: Any, name: str) -> None:
    (text,) = getattr(encode(encoder, sample(tokens=5)), name)
    assert text.shape == (5, WIDTH)


def test_a_small_buffer_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    buffer = PackingBuffer(size=4)
    for _ in range(2):
        assert len(buffer.pack("abcd", [6] * 4, 10)) == 4
    (told,) = caplog.messages
    assert told == (
        "packing_buffer_size=4: the buffer holds 2.4 packs' worth of samples, and 40% of their "
        "packs are padding; with 17 it holds 10, which fills packs better"
    )


@pytest.mark.parametrize(("size", "num"), [(None, 3), (4, 3), (4, 20)])
def test_nothing_is_told_of_a_large_buffer_or_the_end_of_an_epoch(
    size: int | None, num: int, caplog: pytest.LogCaptureFixture
) -> None:
    PackingBuffer(size=size).pack([0] * num, [6] * num, 10)
    assert not caplog.messages


def test_nothing_is_told_of_packs_that_are_full(caplog: pytest.LogCaptureFixture) -> None:
    assert len(PackingBuffer(size=4).pack("abcd", [5] * 4, 10)) == 2
    assert not caplog.messages


def test_one_worker_tells_for_all(caplog: pytest.LogCaptureFixture) -> None:
    config = WorkerConfig(rank=1, world_size=2, num_workers=0)
    config.worker_activate(0)
    try:
        PackingBuffer(size=2).pack("ab", [6, 6], 10)
    finally:
        config.worker_deactivate()
    assert not caplog.messages
