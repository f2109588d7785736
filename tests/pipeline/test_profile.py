from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from energon_prep.pipeline.profile import Profile
from tests.fakes import HashText, MeanVisual, Numbers, decode_number
from tests.pipeline.test_line import run, stations


def slow_decode(raw: Any) -> Any:
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
    ("slow", "source", "limit"),
    [
        ({"decode": slow_decode}, Numbers, "decode"),
        ({}, SlowSource, "read"),
        ({"visual": SlowVisual()}, Numbers, "visual"),
        ({"texts": text()}, Numbers, "text"),
    ],
    ids=["decode", "read", "visual", "text"],
)
def test_the_slow_station_is_named(
    tmp_path: Path, slow: dict[str, Any], source: Any, limit: str
) -> None:
    line = stations(source(60), **slow)
    run(tmp_path, line, workers=1)
    profile = line.profile
    assert profile.limit() == limit, profile.to_dict()
    assert profile.busy[limit] == max(profile.busy.values())
    assert set(profile.busy) == {"read", "decode", "visual", "text", "write"}
    assert profile.busy[limit] <= profile.seconds


def test_waiting_for_the_disk_is_named() -> None:
    profile = Profile()
    profile.merge(
        {
            "busy": {"visual": 1.0, "text": 0.5, "write": 9.0},
            "waits": {"write": 7.0},
            "seconds": 9.5,
        }
    )
    assert profile.limit() == "write"


def test_workers_are_summed_up() -> None:
    profile = Profile()
    for _ in range(2):
        profile.merge(
            {"busy": {"visual": 3.0, "text": 1.0}, "waits": {"decode": 0.1}, "seconds": 5.0}
        )
    assert profile.to_dict() == {
        "seconds": 10.0,
        "busy": {"visual": 6.0, "text": 2.0},
        "waits": {"decode": 0.2},
    }
    assert profile.limit() == "visual"


def test_nothing_done_is_limited_by_nothing() -> None:
    assert Profile().limit() == ""
