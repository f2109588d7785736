from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from energon_prep.decode.geometry import (
    Mode,
    across,
    bucket_sizes,
    nearest_bucket,
    plan_cut,
    plan_geometry,
    stored_box,
    upright_box,
)
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


SIDES = st.integers(1, 6000)


def cut_of(original, mode="crop", resolution=(512, 512), *, orientation=1, reduced=1, multiple=16):
    """The plan, the cut and the exact box in decoded pixels, of a JPEG decoded at 1 /
    ``reduced``.
    """
    geometry = plan_geometry(
        original, mode=mode, resolution=resolution, multiple=multiple, max_aspect=2.0
    )
    stored = across(original, orientation)
    decoded = (math.ceil(stored[0] / reduced), math.ceil(stored[1] / reduced))
    scale = (1 / reduced, 1 / reduced)
    cut = plan_cut(geometry, original, orientation=orientation, decoded=decoded, scale=scale)
    exact = [edge / reduced for edge in stored_box(geometry.box, stored, orientation)]
    return geometry, cut, exact, decoded


def is_whole(box) -> bool:
    return all(edge == int(edge) for edge in box)


@given(
    original=st.tuples(SIDES, SIDES),
    mode=st.sampled_from(get_args(Mode)),
    resolution=st.tuples(st.integers(1, 1024), st.integers(1, 1024)),
    orientation=st.integers(1, 8),
    reduced=st.sampled_from([1, 2, 4, 8]),
    multiple=st.sampled_from([1, 16]),
)
def test_no_edge_moves_by_more_than_half_a_pixel_of_the_result(
    original, mode, resolution, orientation, reduced, multiple
):
    assume(mode != "none" or min(original) >= multiple)
    geometry, cut, exact, decoded = cut_of(
        original, mode, resolution, orientation=orientation, reduced=reduced, multiple=multiple
    )
    assert cut.size == across(geometry.final, orientation)
    left, top, right, bottom = cut.box
    assert 0 <= left < right <= decoded[1] and 0 <= top < bottom <= decoded[0]
    half_x, half_y = (
        (exact[2] - exact[0]) / cut.size[1] / 2,
        (exact[3] - exact[1]) / cut.size[0] / 2,
    )
    moved = np.abs(np.subtract(cut.box, exact))
    assert np.all(moved <= np.array([half_x, half_y, half_x, half_y]) + 1e-9)
    top, left, bottom, right = cut.crop
    assert 0 <= top < bottom <= original[0] and 0 <= left < right <= original[1]
    if is_whole(cut.box):  # what is reported is what is taken
        stored = across(original, orientation)
        assert stored_box(cut.crop, stored, orientation) == tuple(
            edge * reduced for edge in cut.box
        )
    else:
        assert cut.crop == geometry.crop
        assert min(half_x, half_y) < (0.5 if reduced == 1 else 1)  # enlarged, or nearly


def test_a_box_of_whole_size_keeps_it():
    """Halves are rounded to the same side at both ends."""
    assert cut_of((1422, 1729))[1].box == (154, 0, 1576, 1422)
    assert cut_of((848, 515))[1].crop == (167, 0, 682, 515)


def test_reduced_pictures_are_cut_between_their_own_pixels():
    _, cut, exact, _ = cut_of((1000, 1500), resolution=(128, 128), reduced=4)
    assert exact == [62.5, 0, 312.5, 250]
    assert (cut.box, cut.crop) == ((63, 0, 313, 250), (0, 252, 1000, 1252))
    _, cut, exact, _ = cut_of((1911, 1911), resolution=(512, 512), reduced=2)
    assert exact == [0, 0, 955.5, 955.5]
    # the 956th stands for half as much
    assert (cut.box, cut.crop) == ((0, 0, 955, 955), (0, 0, 1910, 1910))


@pytest.mark.parametrize("original", [(30, 41), (300, 401)])
def test_what_is_enlarged_stays_where_it_is(original):
    _, cut, exact, _ = cut_of(original)
    assert cut.box == tuple(exact)
    assert cut.box[0] % 1 == 0.5


@given(
    box=st.tuples(*4 * [st.integers(0, 1000)]),
    stored=st.tuples(SIDES, SIDES),
    orientation=st.integers(1, 8),
)
def test_there_and_back(box, stored, orientation):
    assert upright_box(stored_box(box, stored, orientation), stored, orientation) == box
