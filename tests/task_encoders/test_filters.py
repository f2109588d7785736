from __future__ import annotations

from typing import Any

import pytest
from megatron.energon import SkipSample

from task_encoders import DataError, Filters
from task_encoders.filters import skip_unwanted
from tests.task_encoders.trainers import CLIP, IMAGE, json_part, sample

CLIP_JSON = json_part(1, CLIP)  # 17 frames at 8 a second, original 64 x 96, score 1


@pytest.mark.parametrize(
    ("filters", "shape", "metadata"),
    [
        (Filters(), IMAGE, {}),
        (Filters(min_aesthetic_score=1.0), CLIP, CLIP_JSON),
        (Filters(min_aesthetic_score=1.0), IMAGE, {"meta": {"AESTHETIC_SCORE": 5}}),
        (Filters(min_size=64), CLIP, CLIP_JSON),
        (Filters(min_size=200), IMAGE, {"processed_height": 200, "processed_width": 300}),
        (Filters(max_frames=17, max_seconds=17 / 8), CLIP, CLIP_JSON),
        (Filters(max_frames=0, max_seconds=0), IMAGE, {}),  # an image is no clip
        (Filters(max_seconds=2), CLIP, {"num_frames": 17, "meta": {"fps": 24}}),
        (Filters(keep=lambda info: info["source"] == "mine"), IMAGE, {"source": "mine"}),
    ],
)
def test_what_is_wanted(filters: Filters, shape: Any, metadata: Any) -> None:
    skip_unwanted(sample(shape, metadata=metadata), filters)


@pytest.mark.parametrize(
    "filters",
    [
        Filters(min_aesthetic_score=1.1),
        Filters(min_size=65),
        Filters(max_frames=16),
        Filters(max_seconds=2),
        Filters(keep=lambda info: info["aesthetic_score"] > 1),
    ],
)
def test_what_is_not(filters: Filters) -> None:
    with pytest.raises(SkipSample):
        skip_unwanted(sample(CLIP, metadata=CLIP_JSON), filters)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (
            Filters(min_aesthetic_score=1.0),
            r"sample a: its JSON tells no score \(aesthetic_score, ",
        ),
        (Filters(min_size=64), r"sample a: its JSON tells no size \(original_height, "),
        (Filters(max_frames=16), r"sample a: its JSON tells no number of frames"),
        (Filters(max_seconds=2), r"sample a: its JSON tells no number of frames"),
        (Filters(keep=lambda info: info["x"]), r"sample a: keep fails on its JSON \(KeyError: 'x'"),
    ],
)
def test_a_json_that_does_not_tell(filters: Filters, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        skip_unwanted(sample(CLIP, metadata={"aesthetic_score": None, "num_frames": "17"}), filters)


def test_a_keep_that_answers_nothing_stops_the_training() -> None:
    filters = Filters(keep=lambda info: info.clear())
    with pytest.raises(DataError, match="sample a: keep returns None"):
        skip_unwanted(sample(), filters)
