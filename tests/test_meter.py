"""What a run says of its rate, on a clock that the tests set."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import pytest

from energon_prep.meter import Meter

BATCHES = 8  #: of a window's pixels


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def events_of_worker(window: float, first: float, until: float) -> Iterator[tuple[float, str]]:
    """Moments of one worker: pixels in batches for 30 % of a window, then the texts in two."""
    begin = first
    while begin < until:
        for batch in range(BATCHES):
            yield begin + 0.3 * window * (batch + 1) / BATCHES, "pixels"
        yield begin + 0.6 * window, "texts"
        yield begin + window, "texts"
        yield begin + window, "window"
        begin += window


def run(
    meter: Meter, clock: Clock, *, window: float, workers: int, until: float, samples: int = 256
) -> Iterator[int]:
    """Let ``workers`` encode; give out the number of windows that are through at each moment."""
    meter.start(workers)
    # workers drift apart, as real ones do
    streams = [events_of_worker(window, 0.02 * window * i, until) for i in range(workers)]
    through = 0
    for clock.now, word in heapq.merge(*streams):
        if word == "window":
            through += 1
            meter.add_window(samples, samples)
        else:
            meter.add_encoded(samples / 2 / (BATCHES if word == "pixels" else 2))
        yield through


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("window", [60.0, 600.0])
def test_the_rate_is_true_from_the_second_window_on(window: float, workers: int) -> None:
    clock = Clock()
    meter = Meter(clock)
    true_rate = workers * 256 / window
    looked_at = 0
    for through in run(meter, clock, window=window, workers=workers, until=7200):
        if through >= workers:
            rate = meter.rate
            assert rate is not None
            assert rate == pytest.approx(true_rate, rel=0.2), clock.now
            left = meter.seconds_left(100_000)
            assert left == pytest.approx(100_000 / true_rate, rel=0.25)
            looked_at += 1
    assert looked_at > 7000 * workers / window


def test_what_is_encoded_moves_with_the_batches_and_is_exact_after_a_window() -> None:
    clock = Clock()
    meter = Meter(clock)
    seen = []
    for _ in run(meter, clock, window=60.0, workers=1, until=60.0):
        seen.append(meter.num_encoded)
    assert seen == sorted(seen)
    assert seen[0] == 256 / 2 / BATCHES
    assert seen[-1] == 256


def test_rejects_count_when_their_window_is_through() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.start()
    meter.add_encoded(6.0)
    clock.now = 10.0
    meter.add_window(10, 6)
    assert meter.num_encoded == 10
    assert meter.rate == 1.0


def test_a_rate_that_falls_shows() -> None:
    clock = Clock()
    meter = Meter(clock)
    for _ in run(meter, clock, window=60.0, workers=1, until=3600):
        pass
    assert meter.rate == pytest.approx(256 / 60)
    clock.now += 3600  # nothing came: the device hangs
    rate = meter.rate
    assert rate is not None
    assert rate < 0.2 * 256 / 60


def test_minutes_after_a_change_the_rate_is_the_new_one() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.start()
    for seconds in [10] * 100 + [20] * 100:
        clock.now += seconds
        meter.add_window(100, 0)
    assert meter.rate == pytest.approx(5.0, rel=0.01)


def test_nothing_is_said_before_anything_is_encoded() -> None:
    clock = Clock()
    meter = Meter(clock)
    assert meter.rate is None
    meter.start()
    clock.now = 5.0
    assert meter.rate is None
    assert meter.seconds_left(10) is None
    meter.add_encoded(2.5)
    assert meter.rate == 0.5
