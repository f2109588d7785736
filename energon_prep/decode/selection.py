"""The recipe's frame mode, applied to one video's footage."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from energon_prep.decode.filters import check_seconds
from energon_prep.decode.footage import DamagedError, Footage, Picture
from energon_prep.decode.frame_select import (
    Shot,
    fit_to_rule,
    grid,
    grid_length,
    shown_at,
    shown_from,
    spread,
)
from energon_prep.decode.spans import Span, spans_of
from energon_prep.errors import SampleError

if TYPE_CHECKING:
    from energon_prep.recipes.model import Filters
    from energon_prep.recipes.model import Frames as FramesSection

WHOLE = ("chunks", "images")  #: modes that make several samples, as far as the video goes


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The frames that are wanted: ``count`` clips at most, of at most ``length`` of the ``shots``
    each.
    """

    shots: Iterator[Shot[Picture]]
    length: int
    rate: Fraction | None  #: frames per second, if the selection makes it; None: the footage's own
    count: int = 1
    span: int | None = None  #: number of the clip among those of the metadata


def select(
    footage: Footage,
    section: FramesSection,
    *,
    step: int,
    filters: Filters,
    metadata: Mapping[str, Any],
) -> Iterator[Selection]:
    """Choose frames as ``section.mode`` says, to be taken one selection after the other.

    ``metadata`` is where mode "clip" finds the starts and ends of its clips. Raises SampleError if
    it finds none, or one that the video does not have, or one that is filtered out.
    """
    if section.mode != "clip" and filters.min_seconds is not None:
        check_seconds(_length(footage), filters)
    fps = None if section.fps is None else Fraction(str(section.fps))
    if section.mode == "uniform":
        yield _select_uniform(footage, fps, section.num_frames, step)
        return
    if section.mode == "clip":
        length = fit_to_rule(section.num_frames, step)
        for number, span in enumerate(_spans(metadata, section, footage)):
            if filters.min_seconds is not None:
                check_seconds((span.end or _length(footage)) - span.start, filters)
            shots = _within(footage, fps, span.start, span.end)
            yield Selection(shots=shots, length=length, rate=fps, span=number)
        return
    if fps is None:
        shots = footage.shots()
    else:
        shots = shown_at(footage.shots(), grid(fps), slack=footage.slack)
    length = 1 if section.mode == "images" else fit_to_rule(section.num_frames, step)
    count = section.max_clips if section.mode in WHOLE else 1
    yield Selection(shots=shots, length=length, count=count, rate=fps)


def _length(footage: Footage) -> Fraction:
    return footage.duration or footage.timeline().end


def _spans(metadata: Mapping[str, Any], section: FramesSection, footage: Footage) -> list[Span]:
    """The clips in seconds; frame numbers are counted at the video's average rate."""
    keys = {
        "span_key": section.span_key,
        "start_key": section.start_key,
        "end_key": section.end_key,
    }
    spans = spans_of(metadata, **keys)
    if len(spans) > section.max_clips:
        detail = f"{len(spans)}, the limit is {section.max_clips}"
        raise SampleError("decode", "more clips of one video than frames.max_clips", detail)
    return [_in_seconds(span, footage.average_rate()) if span.in_frames else span for span in spans]


def _in_seconds(span: Span, rate: Fraction) -> Span:
    return Span(start=span.start / rate, end=None if span.end is None else span.end / rate)


def _select_uniform(
    footage: Footage, fps: Fraction | None, num_frames: int, step: int
) -> Selection:
    timeline = footage.timeline()
    total = (
        len(timeline.times) if fps is None else grid_length(fps, timeline.end - 2 * footage.slack)
    )
    length = fit_to_rule(num_frames, step)
    num = fit_to_rule(min(num_frames, total), step)
    times = [timeline.times[i] if fps is None else i / fps for i in spread(num, total)]
    rate = (num - 1) / (times[-1] - times[0]) if num > 1 else fps
    slack = Fraction(0) if fps is None else footage.slack
    return Selection(
        shots=_visit(footage, timeline.keyframes, times, slack), length=length, rate=rate
    )


def _visit(
    footage: Footage, keyframes: Sequence[Fraction], times: Sequence[Fraction], slack: Fraction
) -> Iterator[Shot[Picture]]:
    """The shots at ``times``, each decoded from the keyframe before it: the gaps between them are
    jumped over.
    """
    for keyframe, group in itertools.groupby(
        times, lambda time: keyframes[bisect_right(keyframes, time) - 1]
    ):
        wanted = list(group)
        num_shown = 0
        for shot in shown_at(footage.shots(keyframe), wanted, slack=slack):
            yield shot
            num_shown += 1
        if num_shown < len(wanted):
            raise DamagedError(f"no frame at {float(wanted[num_shown]):g} s")


def _within(
    footage: Footage, fps: Fraction | None, start: Fraction, end: Fraction | None
) -> Iterator[Shot[Picture]]:
    """The shots from the one shown at ``start`` to the last before ``end``, seconds."""
    frame = 1 / footage.rate if footage.rate else Fraction(0)  # what ends may be rounded by
    least = start if end is None else end - frame
    if footage.duration is not None and least > footage.duration:
        raise _outside(start, end, footage.duration)
    shots = _up_to(footage.shots(start), start, least, end)
    stop = None if end is None else end - footage.slack
    if fps is not None:
        return shown_at(shots, grid(fps, start=start, end=stop), slack=footage.slack)
    shots = shown_from(shots, start, slack=footage.slack)
    return itertools.takewhile(lambda shot: stop is None or shot.time < stop, shots)


def _up_to(
    shots: Iterator[Shot[Picture]], start: Fraction, least: Fraction, end: Fraction | None
) -> Iterator[Shot[Picture]]:
    """All ``shots``; raises SampleError if they are over before ``least``."""
    over = Fraction(0)
    for shot in shots:
        yield shot
        over = shot.time + shot.duration
    if over < least or (end is None and over <= start):
        raise _outside(start, end, over)


def _outside(start: Fraction, end: Fraction | None, duration: Fraction) -> SampleError:
    detail = (
        f"{float(start):g} to {'the end' if end is None else f'{float(end):g} s'} of "
        f"{float(duration):g} s"
    )
    return SampleError("decode", "the clip is outside the video", detail)
