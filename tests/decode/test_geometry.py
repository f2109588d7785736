from __future__ import annotations

import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energon_prep.decode.geometry import Mode, bucket_sizes, nearest_bucket, plan_geometry
from energon_prep.errors import SampleError

SIZES = st.tuples(st.integers(1, 6000), st.integers(1, 6000))
RESOLUTIONS = st.tuples(st.integers(1, 2048), st.integers(1, 2048))
MULTIPLES = st.sampled_from([1, 8, 16, 32, 64])
ASPECTS = st.floats(1, 6)


def plan(original, mode="bucket", resolution=(512, 512), multiple=16, max_aspect=2.0):
    return plan_geometry(
        original, mode=mode, resolution=resolution, multiple=multiple, max_aspect=max_aspect
    )


@given(resolution=RESOLUTIONS, multiple=MULTIPLES, max_aspect=ASPECTS)
def test_buckets_keep_what_their_docstring_promises(resolution, multiple, max_aspect):
    buckets = bucket_sizes(resolution, multiple, max_aspect)
    area = math.prod(resolution)
    assert list(buckets) == sorted(set(buckets))
    assert all(side % multiple == 0 and side > 0 for bucket in buckets for side in bucket)
    if all(side % multiple == 0 for side in resolution):
        assert resolution in buckets
    if len(buckets) > 1:
        assert all(abs(h * w - area) <= area * multiple / (2 * math.sqrt(area)) for h, w in buckets)
    else:
        height, width = buckets[0]
        assert height == width or buckets[0] == resolution
    assert all(max(size) <= max_aspect * min(size) or size == resolution for size in buckets)


def test_buckets_of_512():
    buckets = bucket_sizes((512, 512), 16, 2.0)
    assert len(buckets) == 19
    assert (512, 512) in buckets
    assert (368, 720) in buckets and (720, 368) in buckets
    assert (368, 704) not in buckets  # less near to the area
    assert bucket_sizes((512, 512), 16, 2.0) is buckets


@pytest.mark.parametrize(
    ("original", "bucket"),
    [
        ((1000, 1000), (512, 512)),
        ((1280, 1920), (416, 624)),
        ((1920, 1280), (624, 416)),
        ((10, 5000), (368, 720)),
    ],
)
def test_nearest_bucket_by_aspect(original, bucket):
    assert nearest_bucket(original, bucket_sizes((512, 512), 16, 2.0)) == bucket


@given(
    original=SIZES,
    mode=st.sampled_from(get_args(Mode)),
    resolution=RESOLUTIONS,
    multiple=MULTIPLES,
    max_aspect=ASPECTS,
)
def test_every_plan_is_sound(original, mode, resolution, multiple, max_aspect):
    if mode == "none" and min(original) < multiple:
        with pytest.raises(SampleError, match="smaller than one latent patch"):
            plan(original, mode, resolution, multiple, max_aspect)
        return
    geometry = plan(original, mode, resolution, multiple, max_aspect)
    assert all(side % multiple == 0 and side > 0 for side in geometry.final)

    top, left, bottom, right = geometry.box
    assert 0 <= top < bottom <= original[0] and 0 <= left < right <= original[1]
    centered = top + bottom - original[0], left + right - original[1]
    assert max(map(abs, centered)) < 1e-6 or (mode == "none" and max(map(abs, centered)) <= 1)

    crop = geometry.crop
    assert 0 <= crop[0] < crop[2] <= original[0] and 0 <= crop[1] < crop[3] <= original[1]
    assert all(abs(edge - exact) < 1 for edge, exact in zip(crop, geometry.box, strict=True))

    scales = geometry.final[0] / (bottom - top), geometry.final[1] / (right - left)
    if mode != "stretch":
        assert scales[0] == pytest.approx(scales[1], rel=1e-9)  # nothing is distorted
    for side in (0, 1):
        assert geometry.resize_to[side] >= geometry.final[side]
        exact = original[side] * scales[side]
        assert exact * (1 - 1e-9) <= geometry.resize_to[side] < exact * (1 + 1e-9) + 1
    a, b, c, d = geometry.resized_crop
    assert a >= 0 and b >= 0 and c <= geometry.resize_to[0] and d <= geometry.resize_to[1]
    assert (c - a, d - b) == geometry.final


@given(original=SIZES, resolution=RESOLUTIONS, multiple=MULTIPLES)
def test_fit_is_the_largest_inside(original, resolution, multiple):
    final = plan(original, "fit", resolution, multiple).final
    scale = min(resolution[0] / original[0], resolution[1] / original[1])
    for side in (0, 1):
        exact = original[side] * scale
        assert final[side] <= max(exact + 1e-6, multiple)
        assert final[side] > exact - multiple - 1e-6


def test_modes():
    assert plan((300, 400), "crop", (512, 520)).final == (512, 512)
    assert plan((300, 400), "crop", (8, 8)).final == (16, 16)
    assert plan((300, 400), "fit").final == (384, 512)
    assert plan((300, 400), "stretch").box == (0, 0, 300, 400)
    none = plan((301, 400), "none")
    assert (none.crop, none.final) == ((6, 0, 294, 400), (288, 400))


def test_cover_crops_the_longer_side_alike_on_both_ends():
    geometry = plan((1000, 2000), "crop", (512, 512))
    assert geometry.crop == (0, 500, 1000, 1500)
    assert geometry.resize_to == (512, 1024)
    assert geometry.resized_crop == (0, 256, 512, 768)
