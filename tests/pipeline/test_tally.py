from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from energon_prep.decode.image import Take, take_nothing
from energon_prep.device.budget import Budget
from energon_prep.errors import PrepError
from energon_prep.pipeline.tally import Profile, RejectLimit, Tally
from energon_prep.samples import Frames, RawSample, Reject
from tests.fakes import HashText, MeanVisual, Numbers, decode_number
from tests.pipeline.test_line import run, stations


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


def slow_decode(raw: Any, take: Take = take_nothing) -> Any:
    time.sleep(0.003)
    return decode_number(raw)


class SlowVisual(MeanVisual):
    def encode(self, *args: Any) -> Any:
        time.sleep(0.01)
        return super().encode(*args)


class SlowText(HashText):
    def encode(self, *args: Any) -> Any:
        time.sleep(0.05)
        return super().encode(*args)


class SlowSource(Numbers):
    def _load(self, i: int) -> Any:
        time.sleep(0.003)
        return super()._load(i)


def text() -> Any:
    from tests.pipeline.test_line import TEXT

    return ((TEXT, SlowText(max_tokens=TEXT.max_tokens)),)


@pytest.mark.parametrize(
    ("slow", "source", "station", "least"),
    [
        ({"decode": slow_decode}, Numbers, "decode", 60 * 0.003),
        ({}, SlowSource, "read", 60 * 0.003),
        ({"visual": SlowVisual()}, Numbers, "visual", 0.01),
        ({"texts": text()}, Numbers, "text", 0.05),
    ],
    ids=["decode", "read", "visual", "text"],
)
def test_what_a_station_takes_is_counted_as_its_own(
    tmp_path: Path, slow: dict[str, Any], source: Any, station: str, least: float
) -> None:
    line = stations(source(60), **slow)
    run(tmp_path, line, workers=1)
    profile = line.profile
    assert set(profile.busy) == {"read", "decode", "visual", "text", "write"}
    assert least <= profile.busy[station] <= profile.seconds


@pytest.mark.parametrize(
    ("busy", "waits", "limit"),
    [
        ({"read": 1.0, "decode": 8.0, "visual": 1.0}, {"decode": 7.0, "write": 0.1}, "decode"),
        ({"read": 8.0, "decode": 1.0, "visual": 1.0}, {"decode": 7.0}, "read"),
        ({"visual": 8.0, "text": 1.0, "decode": 7.0}, {"decode": 0.1, "write": 0.2}, "visual"),
        ({"visual": 1.0, "text": 8.0, "decode": 7.0}, {}, "text"),
    ],
)
def test_the_station_that_the_others_wait_for_is_named(
    busy: dict[str, float], waits: dict[str, float], limit: str
) -> None:
    profile = Profile()
    profile.merge({"busy": busy, "waits": waits, "waited_for_memory": 0.0, "seconds": 10.0})
    assert profile.limit() == limit


@pytest.mark.parametrize(("waited", "limit"), [(7.0, "memory"), (2.0, "decode")])
def test_memory_is_named_where_decoding_waited_for_it(waited: float, limit: str) -> None:
    profile = Profile()
    busy, waits = {"read": 1.0, "decode": 8.0, "visual": 1.0}, {"decode": 7.0}
    profile.merge({"busy": busy, "waits": waits, "waited_for_memory": waited, "seconds": 10.0})
    assert profile.limit() == limit


def test_the_time_that_threads_wait_for_memory_is_counted(tmp_path: Path) -> None:
    def decode(raw: RawSample, take: Take) -> list[dict[str, Frames]]:
        take(100)
        time.sleep(0.01)
        return decode_number(raw)

    for num_bytes, is_scarce in ((100, True), (10**6, False)):
        line = stations(Numbers(20), decode=decode, budget=Budget(num_bytes))
        run(tmp_path / str(num_bytes), line, workers=4)
        assert (line.profile.waited_for_memory > line.profile.busy["decode"] / 4) is is_scarce


def test_waiting_for_the_disk_is_named() -> None:
    profile = Profile()
    profile.merge(
        {
            "busy": {"visual": 1.0, "text": 0.5, "write": 9.0},
            "waits": {"write": 7.0},
            "waited_for_memory": 0.0,
            "seconds": 9.5,
        }
    )
    assert profile.limit() == "write"


def test_workers_are_summed_up() -> None:
    profile = Profile()
    for _ in range(2):
        profile.merge(
            {
                "busy": {"visual": 3.0, "text": 1.0},
                "waits": {"decode": 0.1},
                "waited_for_memory": 0.5,
                "seconds": 5.0,
            }
        )
    assert profile.to_dict() == {
        "seconds": 10.0,
        "busy": {"visual": 6.0, "text": 2.0},
        "waits": {"decode": 0.2},
        "waited_for_memory": 1.0,
    }
    assert profile.limit() == "visual"


def test_nothing_done_is_limited_by_nothing() -> None:
    assert Profile().limit() == ""
