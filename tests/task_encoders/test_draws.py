from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from megatron.energon import TaskEncoder, WorkerConfig, stateless

from task_encoders import draws


class Ours(TaskEncoder):  # type: ignore[misc]
    @draws.seeded
    def encode_sample(self, sample: Any) -> Any:
        order = list(range(9))
        draws.shuffle(order)
        return draws.uniform(), draws.normal((3, 20)), order, draws.uniform()


class Energons(TaskEncoder):  # type: ignore[misc]
    @stateless(restore_seeds=True)  # type: ignore[untyped-decorator]
    def encode_sample(self, sample: Any) -> Any:
        order = list(range(9))
        random.shuffle(order)
        return random.random(), torch.randn(3, 20), order, random.random()


def drawn(encoder: Any, sample_index: int, rank: int = 0) -> Any:
    config = WorkerConfig(rank=rank, world_size=2, num_workers=0)
    config.worker_activate(sample_index)
    try:
        first, noise, order, second = encoder.encode_sample(None)
        return first, noise.tolist(), order, second
    finally:
        config.worker_deactivate()


@pytest.fixture
def untouched() -> Iterator[None]:
    """The process's own generators are where they were."""
    python, numbers = random.getstate(), torch.get_rng_state()
    yield
    assert random.getstate() == python
    assert torch.equal(torch.get_rng_state(), numbers)


@pytest.mark.usefixtures("untouched")
def test_each_sample_draws_what_energon_would_have_drawn() -> None:
    seen = [drawn(Ours(), index) for index in (0, 1, 7)]
    assert seen == [drawn(Energons(), index) for index in (0, 1, 7)]
    assert len({first for first, *_ in seen}) == 3
    assert drawn(Ours(), 1) == seen[1]


def test_each_rank_has_numbers_of_its_own_in_one_process() -> None:
    assert drawn(Ours(), 0, rank=0) != drawn(Ours(), 0, rank=1)


def test_energon_knows_that_samples_can_be_restored() -> None:
    assert Ours.encode_sample.__stateless__


@pytest.mark.usefixtures("untouched")
def test_one_within_another_has_generators_of_its_own() -> None:
    class Outer(Ours):
        @draws.seeded
        def encode_sample(self, sample: Any) -> Any:
            draws.uniform()
            return super().encode_sample(sample)

    assert drawn(Outer(), 3) == drawn(Ours(), 3)


def test_elsewhere_the_process_draws() -> None:
    torch.manual_seed(1)
    noise = draws.normal((4,))
    torch.manual_seed(1)
    assert torch.equal(noise, torch.randn(4))
