from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, features

from energon_prep.decode import animation
from energon_prep.decode.animation import Animation, is_animated
from energon_prep.errors import SampleError
from energon_prep.formats import kind_of
from energon_prep.recipes.model import Limits
from energon_prep.samples import Media
from tests.decode.files import decoded, smooth, written
from tests.decode.videos import clips, numbers, rejected
from tests.media_files import make_animation, numbered, numbers_of

DURATIONS = [40, 40, 200, 100, 40, 40, 40, 500, 40]
SUFFIXES = ["GIF", "WEBP", "PNG", *(["AVIF"] if features.check("avif") else [])]
FILES = {suffix: make_animation(suffix, DURATIONS) for suffix in SUFFIXES}


@pytest.mark.parametrize("suffix", FILES)
def test_all_frames_with_their_times(suffix):
    (clip,) = clips(FILES[suffix])
    assert clip.pixels.shape == (9, 48, 96, 3)
    assert numbers_of(clip.pixels) == list(range(9))
    assert clip.framerate == pytest.approx(9 / 1.04)
    wanted = np.stack([numbered(number, 48, 96) for number in range(9)])
    assert np.abs(clip.pixels.astype(int) - wanted).mean() < 8
    assert [clip.start for clip in clips(FILES[suffix], "images")] == pytest.approx(
        np.cumsum([0, *DURATIONS[:-1]]) / 1000
    )


@pytest.mark.parametrize("suffix", FILES)
def test_modes(suffix):
    data = FILES[suffix]
    assert numbers(data, "head", 6, step=4) == [[0, 1, 2, 3, 4]]
    assert numbers(data, fps=20) == [
        [0, 1, 2, 2, 2, 2, 3, 3, 4, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8]
    ]
    assert numbers(data, "uniform", 3) == [[0, 4, 8]]
    assert numbers(data, "uniform", 3, fps=20) == [[0, 7, 8]]
    assert numbers(data, "clip", metadata={"clip": [0.1, 0.4]}) == [[2, 3, 4]]
    assert numbers(data, "chunks", 4) == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("suffix", FILES)
def test_the_first_frame_is_that_of_the_image(suffix):
    resize = {"mode": "crop", "resolution": 32}
    (clip,) = clips(FILES[suffix], resize=resize, multiple=16)
    image = decoded(FILES[suffix], multiple=16, **resize)
    np.testing.assert_array_equal(clip.pixels[0], image.pixels[0])
    assert clip.crop == image.crop


def test_delays_that_browsers_do_not_believe():
    (clip,) = clips(make_animation("GIF", [10, 0, 20, 10]), fps=50)
    assert numbers_of(clip.pixels) == [0] * 5 + [1] * 5 + [2] + [3] * 5


def test_transparency_is_laid_over_white():
    red = Image.new("RGBA", (32, 16), (255, 0, 0, 255))
    red.paste((0, 0, 0, 0), (16, 0, 32, 16))
    blue = Image.new("RGBA", (32, 16), (0, 0, 255, 255))
    data = written(red, "GIF", save_all=True, append_images=[blue], duration=100, disposal=2)
    (clip,) = clips(data)
    assert clip.pixels[0, 8, [8, 24]].tolist() == [[255, 0, 0], [255, 255, 255]]
    assert clip.pixels[1, 8, [8, 24]].tolist() == [[0, 0, 255]] * 2


@pytest.mark.parametrize("suffix", FILES)
def test_cut_files_are_damaged(suffix):
    data = FILES[suffix]
    for share in (0.3, 0.6, 0.9, 0.999):
        error = rejected(data[: int(len(data) * share)], "head", 9)
        assert error.reason == "damaged video"
        assert error.detail.startswith("decoded 0 of 9 frames: the file ends at byte")


def test_limits():
    data = FILES["GIF"]
    assert (
        rejected(data, limits=Limits(max_pixels=100)).reason == "more pixels than limits.max_pixels"
    )
    assert rejected(data, limits=Limits(max_seconds=0.3)).reason == "longer than limits.max_seconds"


def test_frames_are_composed_up_to_a_cap_and_only_as_far_as_they_are_wanted(monkeypatch):
    monkeypatch.setattr(animation, "_MOST_WHOLE_FRAMES", 3)
    limits = Limits(max_pixels=48 * 96)
    assert numbers(FILES["GIF"], "head", 3, limits=limits) == [[0, 1, 2]]
    for mode in ("head", "uniform"):
        error = rejected(FILES["GIF"], mode, 4, limits=limits)
        assert error.reason == "an animation of more than 3 times limits.max_pixels"
        assert error.detail == "48x96, 9 frames"


def test_which_images_are_animated():
    for data in FILES.values():
        assert is_animated(data, max_pixels=10**6)
    for suffix in SUFFIXES:
        assert not is_animated(written(smooth(16, 16), suffix), max_pixels=10**6)
    with pytest.raises(SampleError, match="max_pixels"):
        is_animated(FILES["GIF"], max_pixels=10)


def test_the_timeline_is_that_of_the_shots():
    data = FILES["GIF"]
    with Animation(Media.of(data), kind_of(data), max_pixels=10**6, max_seconds=10) as footage:
        timeline = footage.timeline()
        shots = list(footage.shots())
    assert list(timeline.times) == [shot.time for shot in shots]
    assert timeline.end == shots[-1].time + shots[-1].duration


def test_the_picture_for_those_who_know_no_apng_is_no_frame():
    images = [Image.fromarray(numbered(number, 48, 96)) for number in range(4)]
    data = written(
        images[0], "PNG", save_all=True, append_images=images[1:], duration=40, default_image=True
    )
    assert numbers(data) == [[1, 2, 3]]
    assert numbers_of(decoded(data).pixels) == [0]


def test_an_apng_that_is_cut_is_damaged_wherever_it_ends():
    data = FILES["PNG"]
    for end in (len(data) - 1, len(data) - 12, len(data) - 20, len(data) // 2):
        assert rejected(data[:end]).reason == "damaged video"
