from __future__ import annotations

from typing import Any

import pytest

from energon_prep.decode.image import decode_image
from energon_prep.errors import SampleError
from energon_prep.recipes.model import Filters, Resize
from tests.decode.files import decoded, smooth, written
from tests.decode.videos import clips, rejected
from tests.media_files import make_animation, make_video

SECOND = make_video(num=24, rate=24, height=48, width=96)
THREE = make_video(num=3, rate=24)
#: Of which Matroska tells 25 frames a second, and has 10.
SLOW = make_video("webm-vp8", num=10, rate=25, times=range(0, 1000, 100))


@pytest.mark.parametrize(
    ("data", "options", "filters", "reason"),
    [
        (THREE, {}, {"min_frames": 4}, "fewer frames than filters.min_frames (3, needs 4)"),
        (
            THREE,
            {"step": 4},
            {"min_frames": 3},
            "fewer frames than filters.min_frames (1, needs 3)",
        ),
        (
            SECOND,
            {"fps": 6},
            {"min_frames": 7},
            "fewer frames than filters.min_frames (6, needs 7)",
        ),
        (SECOND, {}, {"min_seconds": 1.01}, "shorter than filters.min_seconds (1 s)"),
        (
            SECOND,
            {"mode": "uniform", "num": 2},
            {"min_seconds": 1.01},
            "shorter than filters.min_seconds (1 s)",
        ),
        (
            SECOND,
            {"mode": "clip", "metadata": {"clip": [0.5, 0.75]}},
            {"min_seconds": 0.26},
            "shorter than filters.min_seconds (0.25 s)",
        ),
        (
            SECOND,
            {"mode": "clip", "metadata": {"start": 0.5}},
            {"min_seconds": 0.6},
            "shorter than filters.min_seconds (0.5 s)",
        ),
        (SECOND, {"fps": 60}, {"min_fps": 25}, "fewer frames a second than filters.min_fps (24)"),
        (SLOW, {}, {"min_fps": 12}, "fewer frames a second than filters.min_fps ("),
        (
            SECOND,
            {},
            {"max_aspect": 1.9},
            "sides further apart than filters.max_aspect (48x96, the limit is 1.9)",
        ),
        (
            make_animation("GIF", [100] * 5),
            {},
            {"min_fps": 11},
            "fewer frames a second than filters.min_fps (10)",
        ),
        (
            make_animation("GIF", [100] * 5),
            {},
            {"min_seconds": 0.6},
            "shorter than filters.min_seconds (0.5 s)",
        ),
    ],
)
def test_what_is_filtered_out(
    data: bytes, options: dict[str, Any], filters: dict[str, float], reason: str
) -> None:
    assert str(rejected(data, filters=filters, **options)).startswith(f"filter: {reason}")
    at_the_limit = {
        name: value * 0.8 if name != "max_aspect" else 2 for name, value in filters.items()
    }
    if "min_frames" not in filters:
        assert clips(data, filters=at_the_limit, **options)


def test_filters_take_what_is_at_the_limit() -> None:
    filters = {"min_frames": 24, "min_seconds": 1, "min_fps": 24, "max_aspect": 2}
    assert len(clips(SECOND, filters=filters)) == 1


def test_a_tail_that_is_too_short_is_no_clip() -> None:
    lengths = [
        len(clip.pixels) for clip in clips(SECOND, "chunks", 9, step=1, filters={"min_frames": 7})
    ]
    assert lengths == [9, 9]
    assert len(clips(SECOND, "images", filters={"min_frames": 7})) == 24


def test_pictures_have_an_aspect_too() -> None:
    data = written(smooth(64, 192), "PNG")
    resize = Resize(mode="none", max_aspect=1)
    assert decode_image(
        data, resize=resize, multiple=1, max_pixels=10**6, filters=Filters(max_aspect=3)
    )
    with pytest.raises(SampleError, match=r"filter: sides further apart .*64x192, the limit is 2"):
        decode_image(
            data, resize=resize, multiple=1, max_pixels=10**6, filters=Filters(max_aspect=2)
        )


@pytest.mark.parametrize(
    ("size", "resize", "notes"),
    [
        ((64, 64), {"mode": "crop", "resolution": 64}, ()),
        ((64, 64), {"mode": "crop", "resolution": 32}, ()),
        ((63, 64), {"mode": "bucket", "resolution": 64}, ("enlarged",)),
        ((64, 140), {"mode": "crop", "resolution": 64}, ("less than half of the picture kept",)),
        (
            (32, 140),
            {"mode": "crop", "resolution": 64},
            ("enlarged", "less than half of the picture kept"),
        ),
        ((32, 32), {"mode": "none"}, ()),
        ((32, 128), {"mode": "stretch", "resolution": 64}, ("enlarged",)),
    ],
)
def test_what_is_noted_of_a_picture(
    size: tuple[int, int], resize: dict[str, Any], notes: tuple[str, ...]
) -> None:
    assert decoded(written(smooth(*size), "PNG"), multiple=16, **resize).notes == notes
    (clip,) = clips(
        make_video(num=2, height=size[0] + size[0] % 2, width=size[1]), multiple=16, resize=resize
    )
    assert clip.notes == notes or size[0] == 63


@pytest.mark.parametrize("mode", ["head", "uniform"])
def test_a_video_that_gives_a_single_frame_is_noted(mode: str) -> None:
    (clip,) = clips(THREE, mode, 9, step=4)
    assert clip.notes == ("a single frame of a video",)
    assert clips(THREE, mode, 1, step=4)[0].notes == ()
    assert {clip.notes for clip in clips(THREE, "images")} == {()}
