"""Which frames of a video become a sample, by their times alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

P = TypeVar("P")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Shot(Generic[P]):
    """A frame and when it is shown: from ``time`` until the next one, the last one for its
    ``duration``.
    """

    time: Fraction  #: seconds since the video's first frame
    duration: Fraction  #: seconds, more than none
    picture: P


def fit_to_rule(num: int, step: int) -> int:
    """The most frames, of ``num`` >= 1, that an encoder of this temporal factor takes: 1 + n *
    ``step``.
    """
    return 1 + (num - 1) // step * step


def grid(
    fps: Fraction, *, start: Fraction = Fraction(0), end: Fraction | None = None
) -> Iterator[Fraction]:
    """``start`` + k / ``fps`` for k = 0, 1, ..., before ``end``, but ``start`` in any case."""
    num = itertools.count() if end is None else range(grid_length(fps, end - start))
    return (start + k / fps for k in num)


def grid_length(fps: Fraction, seconds: Fraction) -> int:
    """How many times k / ``fps`` lie before ``seconds``; one at least."""
    return max(-(-seconds * fps // 1), 1)


def shown_at(
    shots: Iterable[Shot[P]], times: Iterable[Fraction], *, slack: Fraction
) -> Iterator[Shot[P]]:
    """For each of the growing ``times`` the shot that is shown then, until the last one is over.

    A shot may come several times or not at all. A time before the first shot gives the first.
    ``slack``: containers round timestamps to ticks of their clock, which makes a shot begin up to
    that much late, and end, its duration being rounded too, up to twice as much.
    """
    remaining = iter(times)
    time = next(remaining, None)
    current: Shot[P] | None = None
    for shot in shots if time is not None else ():
        while current is not None and time is not None and time + slack < shot.time:
            yield current
            time = next(remaining, None)
        if time is None:
            return
        current = shot
    while current is not None and time is not None:
        if time > current.time and time + 2 * slack >= current.time + current.duration:
            return
        yield current
        time = next(remaining, None)


def shown_from(shots: Iterable[Shot[P]], start: Fraction, *, slack: Fraction) -> Iterator[Shot[P]]:
    """The shots from the one that is shown at ``start`` on."""
    before: Shot[P] | None = None
    begun = False
    for shot in shots:
        if not begun and shot.time <= start + slack:
            before = shot
            continue
        if not begun and before is not None:
            yield before
        begun = True
        yield shot
    if not begun and before is not None and start < before.time + before.duration:
        yield before


def spread(num: int, total: int) -> list[int]:
    """``num`` of the indices 0 to ``total`` - 1, evenly, with both ends; the middle one if ``num``
    is 1.
    """
    if num == 1:
        return [(total - 1) // 2]
    # to the nearest
    return [(2 * i * (total - 1) + num - 1) // (2 * (num - 1)) for i in range(num)]


def cut_clips(frames: Iterable[T], *, length: int, count: int, step: int) -> list[list[T]]:
    """Cut ``frames`` into consecutive clips of ``length``, which fits the rule, ``count`` at most.

    The last clip may be shorter, cut to the rule. If that leaves it with a single frame it is no
    clip and dropped, unless it is the only one. Takes no more of ``frames`` than it needs.
    """
    source = iter(frames)
    clips: list[list[T]] = []
    while len(clips) < count:
        clip = list(itertools.islice(source, length))
        if len(clip) < length:
            num = fit_to_rule(len(clip), step) if clip else 0
            if num > 1 or (num == 1 and not clips):
                clips.append(clip[:num])
            break
        clips.append(clip)
    return clips
