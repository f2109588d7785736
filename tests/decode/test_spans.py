from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energon_prep.decode.spans import Span, spans_of
from energon_prep.errors import SampleError

HALF, ONE, TWO = Fraction(1, 2), Fraction(1), Fraction(2)


def pairs_of(metadata: dict[str, Any], **keys: str) -> list[tuple[Fraction, Fraction | None]]:
    return [(span.start, span.end) for span in spans_of(metadata, **keys)]


@pytest.mark.parametrize(
    "metadata",
    [
        {"clip": [0.5, 1]},
        {"clip": ("0.5", " 1 ")},
        {"clip": [0.5, 1], "start": 7, "end": 8},
        {"timestamp": "[0.5, 1]"},
        {"timestamp": "('0:00:00.500', '0:00:01.000')"},
        {"timestamp": "1690000000", "span": '["00:00,5", null]', "end": 1}
        | {"span": [0.5, "0:01"]},
        {"clip": {"start": 0.5, "end": 1}},
        {"start": "0.5", "end": "1"},
        {"start_time": "00:00:00.500", "end_time": "00:00:01,000"},
        {"timestamp_start": "0:00.5", "timestamp_end": 1.0},
        {"span_start": 0.5, "span_end": 1},
        {"start": "", "end": "", "start_sec": 0.5, "end_sec": 1},
        {"start": 0.5, "duration": "0.5"},
        {"start_time": [0.5], "end_time": "[1]"},
    ],
)
def test_one_clip_however_it_is_written(metadata: dict[str, Any]) -> None:
    assert pairs_of(metadata) == [(HALF, ONE)]


def test_clock_times_are_exact() -> None:
    metadata = {"start": "00:01:00.500", "end": "1:00:02.1"}
    assert pairs_of(metadata) == [(Fraction(121, 2), Fraction(36021, 10))]


@pytest.mark.parametrize(
    "metadata",
    [
        {"clip": [[0.5, 1], [1, 2]]},
        {"timestamp": "[['0:00:00.500', '0:00:01.000'], ['0:00:01.000', '0:00:02.000']]"},
        {"clips": [{"start": 0.5, "end": 1}, {"start_time": 1, "end_time": 2}]},
        {"start": [0.5, 1], "end": [1, 2]},
        {"start": "[0.5, 1]", "end": "[1.0, 2]"},
        {"segments": ["[0.5, 1]", "[1, 2]"]},
        {"start": [0.5, 1], "duration": [0.5, 1]},
    ],
)
def test_several_clips_of_one_row(metadata: dict[str, Any]) -> None:
    assert pairs_of(metadata) == [(HALF, ONE), (ONE, TWO)]


@pytest.mark.parametrize(
    "metadata",
    [
        {"start": "1", "end": ""},
        {"start": 1},
        {"clip": [1, None]},
        {"start": 1, "end": float("nan")},
    ],
)
def test_an_open_end(metadata: dict[str, Any]) -> None:
    assert pairs_of(metadata) == [(ONE, None)]
    assert pairs_of({"start": None, "end": 1}) == [(0, ONE)]
    # of the whole video
    assert pairs_of({"start": "1", "end": "", "duration": 60}) == [(ONE, None)]


def test_frames() -> None:
    assert spans_of({"start_frame": "12", "end_frame": 24}) == [
        Span(start=Fraction(12), end=Fraction(24), in_frames=True)
    ]


def test_keys_of_ones_own() -> None:
    metadata = {"from": 0.5, "to": 1, "shot": "[1, 2]", "clip": [7, 8]}
    assert pairs_of(metadata, start_key="from", end_key="to") == [(HALF, ONE)]
    assert pairs_of(metadata, span_key="shot") == [(ONE, TWO)]
    assert pairs_of(metadata, start_key="from") == [(HALF, None)]
    with pytest.raises(
        SampleError, match=r"looked for a, b; the metadata have from, to, shot, clip\)"
    ):
        spans_of(metadata, start_key="a", end_key="b")


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({}, "no clip times"),
        ({"clip": None}, "no clip times"),
        ({"clip": [1]}, "no clip times"),
        ({"clip": "0-1"}, "no clip times"),
        ({"clip": [{}, 1]}, "no clip times"),
        ({"clip": "[" * 1000}, "no clip times"),
        ({"clip": [0, float("inf")]}, "no times"),
        ({"clip": [False, True]}, "no times"),
        ({"start": "soon", "end": 1}, "no times"),
        ({"start": 0, "end": "1e999999999"}, "no times"),
        ({"clip": [0.5, 0.5]}, "empty or negative"),
        ({"clip": [0, "1e-999999999"]}, "empty or negative"),
        ({"start": "9" * 5000}, "no times"),
        ({"clip": [-1, 1]}, "empty or negative"),
        ({"start": 1, "duration": 0}, "empty or negative"),
        ({"start": [0, 1], "end": [1, 2, 3]}, "not as many starts as ends"),
    ],
)
def test_what_is_no_clip(metadata: dict[str, Any], reason: str) -> None:
    with pytest.raises(SampleError, match=reason) as caught:
        spans_of(metadata)
    assert not any(letter.isdigit() for letter in caught.value.reason)


def test_what_was_looked_for_and_what_is_there_is_told() -> None:
    with pytest.raises(SampleError) as caught:
        spans_of({"caption": "a", "begin_s": 1})
    assert caught.value.detail.startswith("looked for clip, clips, timestamp, ")
    assert caught.value.detail.endswith(
        "start_frame, end_frame, frame_start, frame_end; the metadata have caption, begin_s"
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=8
)


@given(value=JSON, other=JSON)
def test_any_value_gives_spans_or_a_sample_error(value: Any, other: Any) -> None:
    for metadata in (
        {"clip": value},
        {"clip": str(value)},
        {"start": value, "end": other},
        {"start": str(value)},
    ):
        try:
            spans = spans_of(metadata)
        except SampleError as error:
            assert error.stage == "decode"
        else:
            assert all(
                span.start >= 0 and (span.end is None or span.end > span.start) for span in spans
            )
