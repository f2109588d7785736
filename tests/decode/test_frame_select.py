from __future__ import annotations

import itertools
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from energon_prep.decode.frame_select import (
    Shot,
    cut_clips,
    fit_to_rule,
    grid,
    grid_length,
    shown_at,
    shown_from,
    spread,
)

NONE = Fraction(0)
rates = st.sampled_from(
    [Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(60), Fraction(10), Fraction(7, 3)]
)


def shots_of(gaps: list[Fraction]) -> list[Shot[int]]:
    """One shot a gap, each as long as that."""
    times = itertools.accumulate(gaps, initial=NONE)
    return [
        Shot(time=time, duration=gap, picture=i)
        for i, (time, gap) in enumerate(zip(times, gaps, strict=False))
    ]


variable = st.lists(
    st.integers(1, 500).map(lambda ms: Fraction(ms, 1000)), min_size=1, max_size=40
).map(shots_of)


def pictures(shots) -> list[int]:
    return [shot.picture for shot in shots]


@given(num=st.integers(1, 10**6), step=st.integers(1, 16))
def test_the_rule_is_the_most_that_fits(num, step):
    fitted = fit_to_rule(num, step)
    assert 1 <= fitted <= num < fitted + step
    assert (fitted - 1) % step == 0


@given(shots=variable, fps=rates)
def test_resampling_takes_the_frame_whose_interval_holds_the_time(shots, fps):
    end = shots[-1].time + shots[-1].duration
    expected = []
    for k in itertools.count():
        time = k / fps
        if time >= end:
            break
        expected += [
            shot.picture for shot in shots if shot.time <= time < shot.time + shot.duration
        ]
    assert pictures(shown_at(shots, grid(fps), slack=NONE)) == expected
    assert len(expected) == grid_length(fps, end)


@given(num=st.integers(1, 200), rate=rates, every=st.integers(1, 5), milli=st.booleans())
def test_every_nth_frame_of_a_constant_rate_though_its_times_are_rounded(num, rate, every, milli):
    """WebM keeps milliseconds: without slack, 30 -> 15 frames per second would stutter: 0, 1, 4, 6,
    7, ...
    """
    tick = Fraction(1, 1000) if milli else Fraction(1, 90000)
    times = [round(k / rate / tick) * tick for k in range(num)]
    shots = [
        Shot(time=time, duration=round(1 / rate / tick) * tick, picture=i)
        for i, time in enumerate(times)
    ]
    assert pictures(shown_at(shots, grid(rate / every), slack=tick / 2)) == list(
        range(0, num, every)
    )


@given(shots=variable, slack=st.sampled_from([NONE, Fraction(1, 1000)]))
def test_no_frame_is_taken_ahead_of_need(shots, slack):
    taken = 0

    def counted():
        nonlocal taken
        for shot in shots:
            taken += 1
            yield shot

    wanted = [shot.time for shot in shots[: len(shots) // 2]]
    list(shown_at(counted(), wanted, slack=slack))
    assert taken <= len(wanted) + 2


@given(shots=variable)
def test_one_frame_comes_of_any_video(shots):
    assert pictures(shown_at(shots[:1], grid(Fraction(1, 1000)), slack=Fraction(1000))) == [0]


@given(shots=variable, start=st.integers(0, 5000).map(lambda ms: Fraction(ms, 1000)))
def test_from_a_time_on(shots, start):
    end = shots[-1].time + shots[-1].duration
    expected = [shot.picture for shot in shots if start < shot.time + shot.duration]
    assert pictures(shown_from(shots, start, slack=NONE)) == (expected if start < end else [])


@given(total=st.integers(1, 10**7), data=st.data())
def test_spread_is_even_and_has_both_ends(total, data):
    num = data.draw(st.integers(1, min(total, 300)))
    indices = spread(num, total)
    assert len(indices) == num
    if num == 1:
        assert indices == [(total - 1) // 2]
    else:
        assert indices[0] == 0 and indices[-1] == total - 1
        gaps = {b - a for a, b in itertools.pairwise(indices)}
        assert min(gaps) >= 1 and max(gaps) - min(gaps) <= 1


@given(
    num=st.integers(0, 200), n=st.integers(0, 20), step=st.integers(1, 8), count=st.integers(1, 20)
)
def test_clips_are_consecutive_and_fit_the_rule(num, n, step, count):
    length = 1 + n * step
    frames = iter(range(num))
    clips = cut_clips(frames, length=length, count=count, step=step)
    assert len(clips) <= count
    assert list(itertools.chain(*clips)) == list(range(sum(map(len, clips))))
    assert all(len(clip) == length for clip in clips[:-1])
    assert all((len(clip) - 1) % step == 0 for clip in clips)
    assert bool(clips) == (num > 0)
    unused = num - sum(map(len, clips))
    if len(clips) < count:
        assert unused <= step  # what the docs promise of the tail
    else:
        assert next(frames, num) <= length * count + step  # no more was taken


def test_a_tail_is_a_clip_if_it_is_more_than_a_frame():
    def lengths(num: int) -> list[int]:
        return [len(clip) for clip in cut_clips(range(num), length=9, count=10, step=4)]

    assert [lengths(num) for num in (1, 4, 5, 9, 10, 13, 14, 18)] == [
        [1],
        [1],
        [5],
        [9],
        [9],
        [9],
        [9, 5],
        [9, 9],
    ]
