from __future__ import annotations

from typing import Any

import pytest

from energon_prep.decode.media import decode_media, resolutions
from energon_prep.errors import SampleError
from energon_prep.recipes.model import Filters, Frames, Limits, Resize
from energon_prep.samples import Media, RawSample
from tests.decode.files import smooth, written
from tests.media_files import make_animation, make_video, numbers_of

VIDEO = make_video("mp4-h264", num=9, height=64, width=128)
JPEG = written(smooth(64, 128), "JPEG")


def media(
    data: bytes,
    name: str,
    *,
    step: int | None = 4,
    resize: dict[str, Any] | None = None,
    **frames: Any,
) -> Any:
    raw = RawSample(
        key="k",
        source="s",
        media_name=name,
        media=Media.of(data),
        captions=("",),
        metadata=frames.pop("metadata", {}),
    )
    return decode_media(
        raw,
        resizes=resolutions(
            Resize.model_validate({"mode": "crop", "resolution": 32, **(resize or {})})
        ),
        multiple=16,
        frames=Frames.model_validate({"num_frames": 9, **frames}),
        frame_step=step,
        filters=Filters(),
        limits=Limits(),
    )


@pytest.mark.parametrize("name", ["a.mp4", "a.jpg", "a.webm", "a"])
def test_the_bytes_decide(name):
    (clip,) = media(VIDEO, name)
    assert clip["32"].pixels.shape == (9, 32, 32, 3)
    assert clip["32"].framerate == 24.0
    (clip,) = media(JPEG, name)
    assert clip["32"].pixels.shape == (1, 32, 32, 3)
    assert clip["32"].framerate is None


def test_several_resolutions_of_the_same_frames():
    clips = media(
        VIDEO,
        "a.mp4",
        resize={"mode": "stretch", "more_resolutions": ["16x48", 64]},
        mode="chunks",
        num_frames=5,
    )
    assert len(clips) == 1  # four are left
    assert {name: view.pixels.shape for name, view in clips[0].items()} == {
        "32": (5, 32, 32, 3),
        "16x48": (5, 16, 48, 3),
        "64": (5, 64, 64, 3),
    }
    assert all(numbers_of(view.pixels) == [0, 1, 2, 3, 4] for view in clips[0].values())
    assert {(view.framerate, view.start, view.original_width) for view in clips[0].values()} == {
        (24.0, 0.0, 128)
    }


def test_the_clip_comes_from_the_metadata():
    (clip,) = media(VIDEO, "a.mp4", mode="clip", metadata={"clip": [0.2, 0.375]}, step=1)
    assert clip["32"].start == pytest.approx(4 / 24)
    assert clip["32"].pixels.shape[0] == 5


@pytest.mark.parametrize("suffix", ["GIF", "WEBP"])
def test_animations_are_videos_where_clips_are_wanted(suffix):
    data = make_animation(suffix, [40] * 9)
    (clip,) = media(data, "a.gif")
    assert (clip["32"].pixels.shape[0], clip["32"].framerate) == (9, 25.0)
    for single in (media(data, "a.gif", num_frames=1), media(data, "a.gif", step=None)):
        assert [(view["32"].pixels.shape[0], view["32"].framerate) for view in single] == [
            (1, None)
        ]
    (clip,) = media(written(smooth(64, 64), suffix), "a.gif")
    assert clip["32"].framerate is None


def test_an_encoder_of_images_takes_videos_as_images():
    assert len(media(VIDEO, "a.mp4", step=None, mode="images")) == 9
    with pytest.raises(SampleError, match=r"frames\.mode=images"):
        media(VIDEO, "a.mp4", step=None)
    assert len(media(JPEG, "a.jpg", step=None)) == 1


@pytest.mark.parametrize(
    ("data", "name", "reason"),
    [
        (b"not a video at all", "a.mp4", "not MP4 or MOV, nor another video that is read"),
        (b"\x47" + bytes(1000), "a.MKV", "not WebM or Matroska, nor another video that is read"),
        (b"not an image at all", "a.jpg", "not an image Pillow can read"),
        (b"", "a.mp4", "empty file"),
        (VIDEO[:2000], "a.mp4", "damaged video"),
    ],
)
def test_what_is_neither(data, name, reason):
    with pytest.raises(SampleError) as caught:
        media(data, name)
    assert (caught.value.stage, caught.value.reason) == ("decode", reason)
