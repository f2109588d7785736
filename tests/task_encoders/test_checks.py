from __future__ import annotations

import math

import pytest
import torch

from task_encoders.checks import magnitude


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_is_found_wherever_it_is(
    dtype: torch.dtype, odd: float
) -> None:
    """Among as many as fill vectors, and fewer."""
    for size in (1, 7, 33, 100):
        for place in range(size):
            numbers = torch.arange(size).to(dtype) - 3
            numbers[place] = odd
            assert not math.isfinite(magnitude(numbers))


def test_the_largest_has_either_sign() -> None:
    assert magnitude(torch.tensor([3.0, -7.0, 0.0])) == 7
    assert magnitude(torch.tensor([[3.0], [7.0]]).bfloat16()) == 7
    assert magnitude(torch.tensor([-0.5])) == 0.5
