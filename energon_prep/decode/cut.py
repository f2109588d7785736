"""The plan for a picture, and how it was decoded -> the pixels that are resampled."""

from __future__ import annotations

from dataclasses import dataclass

from energon_prep.decode.geometry import Box, FloatBox, Geometry, Size, nearest_pixel
from energon_prep.decode.orientation import across, stored_box, upright_box


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What is taken of a picture as it was decoded: not yet upright, perhaps reduced."""

    box: FloatBox  #: (left, top, right, bottom) in decoded pixels, Pillow's order
    size: Size  #: what it comes to, before it is turned upright
    crop: Box  #: ``box`` in original upright pixels: (top, left, bottom, right)


def plan_cut(
    geometry: Geometry,
    original: Size,
    *,
    orientation: int,
    decoded: Size,
    scale: tuple[float, float],
) -> Cut:
    """Find ``geometry.box`` in a picture of size ``decoded``, ``scale`` (vertical, horizontal)
    times the original's.

    The edges go to whole pixels, between which resampling is several times faster, and ``crop``
    with them. None moves by more than half a pixel of the result; where one would have to, because
    little is enlarged, all stay.
    """
    stored = across(original, orientation)
    height, width = across(geometry.final, orientation)
    y, x = scale
    left, top, right, bottom = stored_box(geometry.box, stored, orientation)
    box = (left * x, top * y, min(right * x, decoded[1]), min(bottom * y, decoded[0]))
    # The last pixels of a reduced picture may stand for less of the original than the others: they
    # are left out.
    full_width, full_height = int(stored[1] * x + 1e-6), int(stored[0] * y + 1e-6)
    whole = (
        nearest_pixel(box[0]),
        nearest_pixel(box[1]),
        min(nearest_pixel(box[2]), full_width),
        min(nearest_pixel(box[3]), full_height),
    )
    moved = [abs(edge - exact) for edge, exact in zip(whole, box, strict=True)]
    farthest_x, farthest_y = (box[2] - box[0]) / (2 * width), (box[3] - box[1]) / (2 * height)
    is_near = max(moved[0], moved[2]) <= farthest_x and max(moved[1], moved[3]) <= farthest_y
    if not is_near or whole[0] == whole[2] or whole[1] == whole[3]:
        return Cut(box=box, size=(height, width), crop=geometry.crop)
    kept = (whole[0] / x, whole[1] / y, whole[2] / x, whole[3] / y)
    top, left, bottom, right = upright_box(kept, stored, orientation)
    crop = (nearest_pixel(top), nearest_pixel(left), nearest_pixel(bottom), nearest_pixel(right))
    return Cut(box=whole, size=(height, width), crop=crop)
