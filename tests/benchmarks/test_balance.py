from __future__ import annotations

import pytest

from benchmarks.balance import CASES, RANKS, Case, slowest_over_mean


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_batches_by_tokens_are_equal_work(case: Case, ranks: int) -> None:
    by_tokens = slowest_over_mean(case, ranks, max_tokens=case.max_tokens(8))
    assert 1 <= by_tokens <= 1.05
    assert slowest_over_mean(case, ranks, max_tokens=None) > 1.5
