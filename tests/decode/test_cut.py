from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from energon_prep.decode.cut import plan_cut
from energon_prep.decode.geometry import Mode, plan_geometry
from energon_prep.decode.orientation import across, stored_box, upright_box

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
