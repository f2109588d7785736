"""Which stretches of a video are its clips, as data sets write that in their metadata."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from energon_prep.errors import SampleError

#: Keys of a clip [start, end], or a list of clips; text of these too.
SPAN_KEYS = ("clip", "clips", "timestamp", "timestamps", "span", "spans", "segment", "segments")
#: Keys of start and end, in seconds or hours:minutes:seconds; each may be a list.
TIME_KEYS = (
    ("start", "end"),
    ("start_time", "end_time"),
    ("timestamp_start", "timestamp_end"),
    ("start_timestamp", "end_timestamp"),
    ("span_start", "span_end"),
    ("clip_start", "clip_end"),
    ("segment_start", "segment_end"),
    ("start_sec", "end_sec"),
    ("start_seconds", "end_seconds"),
    ("begin", "end"),
)
#: ... in frames, counted from 0; the end is the first that is not taken.
FRAME_KEYS = (("start_frame", "end_frame"), ("frame_start", "frame_end"))
#: Seconds from the start on, where there is no key of an end.
DURATION_KEYS = ("clip_duration", "duration")

_CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,4}):(\d{1,2}(?:[.,]\d{0,12})?)")  # 1:02:03.5, 02:03,500
_DECIMAL = re.compile(r"\d+(\.\d*)?")
_MOST_TEXT = 2**16


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of a video, in seconds since its first frame, or in frames."""

    start: Fraction
    end: Fraction | None  #: None: to the video's end
    in_frames: bool = False


def spans_of(
    metadata: Mapping[str, Any],
    *,
    span_key: str | None = None,
    start_key: str | None = None,
    end_key: str | None = None,
) -> list[Span]:
    """The clips of one video, one or several, from the keys given or from the usual ones.

    The first of SPAN_KEYS, TIME_KEYS and FRAME_KEYS that holds something counts. Raises SampleError
    if none does, or what it holds is no time.
    """
    by_default = span_key is start_key is end_key is None
    for key in SPAN_KEYS if by_default else [span_key] if span_key else []:
        spans = _spans_in(metadata.get(key))
        if spans:
            return spans
    pairs: Sequence[tuple[str, str]] = TIME_KEYS
    if start_key is not None or end_key is not None:
        pairs = [(start_key or "start", end_key or "end")]
    for start, end in pairs if by_default or not span_key else ():
        spans = _spans_between(metadata, start, end)
        if spans:
            return spans
    for start, end in FRAME_KEYS if by_default else ():
        spans = _spans_between(metadata, start, end, in_frames=True)
        if spans:
            return spans
    tried = [span_key] if span_key else [key for pair in pairs for key in pair]
    if by_default:
        tried = [*SPAN_KEYS, *tried, *(key for pair in FRAME_KEYS for key in pair)]
    detail = (
        f"looked for {', '.join(dict.fromkeys(tried))}; the metadata have "
        f"{', '.join(metadata) or 'no keys'}"
    )
    raise SampleError(
        "decode", "no clip times in the metadata (set frames.start_key and frames.end_key)", detail
    )


def _spans_in(value: Any) -> list[Span]:
    """Of a pair of times, a list of pairs, {start, end}, or the text of these; none of anything
    else.
    """
    value = _parsed(value)
    if isinstance(value, Mapping):
        return next(filter(None, (_spans_between(value, *pair) for pair in TIME_KEYS)), [])
    if not isinstance(value, (list, tuple)):
        return []
    value = [_parsed(item) for item in value]
    if len(value) == 2 and not any(isinstance(item, (list, tuple, Mapping)) for item in value):
        return [] if _is_empty(value[0]) and _is_empty(value[1]) else [_span(*value)]
    inner = [_spans_in(item) for item in value]
    return [spans[0] for spans in inner] if all(len(spans) == 1 for spans in inner) else []


def _spans_between(
    metadata: Mapping[str, Any], start_key: str, end_key: str, *, in_frames: bool = False
) -> list[Span]:
    start, end = _parsed(metadata.get(start_key)), _parsed(metadata.get(end_key))
    duration = None
    if end_key not in metadata and not in_frames:
        duration = next((_parsed(metadata[key]) for key in DURATION_KEYS if key in metadata), None)
    if _is_empty(start) and _is_empty(end):
        return []
    starts, ends, durations = (
        value if isinstance(value, list) else [value] for value in (start, end, duration)
    )
    num = max(len(starts), len(ends), len(durations))
    columns = [items * num if len(items) == 1 else items for items in (starts, ends, durations)]
    if any(len(column) != num for column in columns):
        detail = f"{start_key} has {len(starts)}, {end_key} has {len(ends)}"
        raise SampleError("decode", "the clips have not as many starts as ends", detail)
    return [_span(*times, in_frames=in_frames) for times in zip(*columns, strict=True)]


def _span(start: Any, end: Any, duration: Any = None, *, in_frames: bool = False) -> Span:
    first = Fraction(0) if _is_empty(start) else _seconds(start)
    last = None if _is_empty(end) else _seconds(end)
    if last is None and not _is_empty(duration):
        last = first + _seconds(duration)
    if first < 0 or (last is not None and last <= first):
        unit = "frames" if in_frames else "s"
        detail = f"{float(first):g} to {'the end' if last is None else f'{float(last):g}'} {unit}"
        raise SampleError("decode", "the clip is empty or negative", detail)
    return Span(start=first, end=last, in_frames=in_frames)


def _parsed(value: Any) -> Any:
    """A list or mapping, where ``value`` is the text of one, as cells of a table have it."""
    if (
        not isinstance(value, str)
        or not value.lstrip().startswith(("[", "(", "{"))
        or len(value) > _MOST_TEXT
    ):
        return value
    try:
        parsed = ast.literal_eval(value.strip().replace("null", "None"))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return value
    return list(parsed) if isinstance(parsed, tuple) else parsed


def _is_empty(value: Any) -> bool:
    """Whether nothing is said: a cell without text, a missing value."""
    if isinstance(value, str):
        return value.strip().lower() in ("", "nan", "none", "null")
    return value is None or (isinstance(value, float) and math.isnan(value))


def _seconds(value: Any) -> Fraction:
    """Of a number, or of its text, or of hours:minutes:seconds."""
    text = str(value).strip()
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        hours, minutes, seconds = clock.groups()
        return int(hours or 0) * 3600 + int(minutes) * 60 + Fraction(seconds.replace(",", "."))
    try:
        number = math.nan if isinstance(value, bool) else float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SampleError("decode", "the clip's start and end are no times", repr(value)[:200])
    # exactly 0.1, if it is written so
    return Fraction(text) if _DECIMAL.fullmatch(text) else Fraction(number)
