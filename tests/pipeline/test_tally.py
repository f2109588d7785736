from __future__ import annotations

import pytest

from energon_prep.errors import PrepError
from energon_prep.pipeline.tally import RejectLimit, Tally
from energon_prep.samples import Reject


def _reject(stage: str = "decode") -> Reject:
    return Reject(serial=0, key="k", source="s", stage=stage, reason="truncated")


@pytest.mark.parametrize(
    ("text", "limit"), [("5", RejectLimit(count=5)), ("2.5%", RejectLimit(percent=2.5))]
)
def test_limits_parse(text: str, limit: RejectLimit) -> None:
    assert RejectLimit.parse(text) == limit


@pytest.mark.parametrize("text", ["", "x", "-1", "101%", "-1%", "1.5", "nan%"])
def test_a_wrong_limit_is_refused(text: str) -> None:
    with pytest.raises(PrepError, match="--max-rejects"):
        RejectLimit.parse(text)


def test_a_number_stops_at_once() -> None:
    tally = Tally(num_planned=100, limit=RejectLimit(count=2))
    tally.add_reject(_reject())
    tally.add_reject(_reject())
    with pytest.raises(
        PrepError, match=r"stopped after 3 rejects in 3 samples: 3 x decode: truncated"
    ):
        tally.add_reject(_reject())


def test_a_percentage_is_judged_of_many_or_at_the_end() -> None:
    tally = Tally(num_planned=2, limit=RejectLimit(percent=10))
    tally.add_written({})
    tally.add_reject(_reject())
    with pytest.raises(PrepError, match="stopped after 1 rejects in 2 samples"):
        tally.finish()


def test_filtered_samples_are_no_fault() -> None:
    tally = Tally(num_planned=3, limit=RejectLimit(count=0))
    tally.add_reject(_reject("filter"))
    tally.add_reject(_reject("filter"))
    tally.add_written({"cut": 1})
    tally.finish()
    assert (tally.num_done, tally.num_rejected, tally.notes) == (3, 2, {"cut": 1})


def test_a_run_without_any_success_stops_by_itself() -> None:
    tally = Tally(num_planned=10**6)
    with pytest.raises(PrepError, match="stopped after 1000 rejects"):
        for _ in range(1001):
            tally.add_reject(_reject())


def test_unaccounted_samples_and_empty_results_are_errors() -> None:
    tally = Tally(num_planned=2)
    tally.add_reject(_reject())
    with pytest.raises(
        PrepError,
        match="2 samples went in, 0 were written and 1 rejected: some are unaccounted for",
    ):
        tally.finish()
    tally.add_reject(_reject())
    with pytest.raises(
        PrepError, match="no sample was written: all 2 were rejected: 2 x decode: truncated"
    ):
        tally.finish()
