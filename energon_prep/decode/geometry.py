"""Which pixels of a picture are kept, the size they come to, and where they lie in what was
decoded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from PIL import Image

from energon_prep.errors import SampleError

Size = tuple[int, int]  #: (height, width)
Box = tuple[int, int, int, int]  #: (top, left, bottom, right)
FloatBox = tuple[float, float, float, float]
Mode = Literal["bucket", "crop", "fit", "stretch", "none"]


#: By EXIF orientation (2 to 8; 1 is upright): how stored pixels become upright ones.
TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# ... and how an upright box is found in the stored pixels: rows are columns, rows and columns count
# from the far end.
_SWAPS_AXES = (5, 6, 7, 8)
_FLIPS_ROWS = (3, 4, 6, 7)
_FLIPS_COLUMNS = (2, 3, 7, 8)


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The plan for one image. ``box`` is exact, the integers are derived from it."""

    box: FloatBox  #: (top, left, bottom, right) of what is kept, in original pixels
    crop: Box  #: ``box`` in whole original pixels, never empty
    #: of the whole image at the scale of the crop, rounded up, so never smaller than ``final``
    resize_to: Size
    final: Size  #: the size the encoder sees


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What is taken of a picture as it was decoded: not yet upright, perhaps reduced."""

    box: FloatBox  #: (left, top, right, bottom) in decoded pixels, Pillow's order
    size: Size  #: what it comes to, before it is turned upright
    crop: Box  #: ``box`` in original upright pixels: (top, left, bottom, right)


def plan_geometry(
    original: Size, *, mode: Mode, resolution: Size, multiple: int, max_aspect: float
) -> Geometry:
    """Plan how an image of size ``original`` comes to a size whose sides are multiples of
    ``multiple``.

    All crops are centred. Pixels stay square in every mode but ``stretch``.

    - bucket: the bucket of ``bucket_sizes`` nearest in log aspect ratio, covered and cropped.
    - crop: ``resolution``, rounded down to the multiple (at least one), covered and cropped.
    - fit: the largest size inside ``resolution``, upscaling small images, rounded down to the
      multiple; the rounding is cropped away. A side that would be less than one multiple becomes
      one, cropping the other.
    - stretch: the whole image becomes ``resolution``, rounded down to the multiple (at least one).
    - none: no resize, only the remainder of the multiple is cropped. Raises SampleError if a side
      is below it.
    """
    if mode == "none":
        return _uncut(original, multiple)
    if mode == "stretch":
        return _stretched(original, _round_down(resolution, multiple))
    if mode == "fit":
        return _covering(original, _round_down(_inside(original, resolution), multiple))
    if mode == "crop":
        return _covering(original, _round_down(resolution, multiple))
    return _covering(
        original, nearest_bucket(original, bucket_sizes(resolution, multiple, max_aspect))
    )


@lru_cache(maxsize=64)
def bucket_sizes(resolution: Size, multiple: int, max_aspect: float) -> tuple[Size, ...]:
    """Sizes of about ``resolution``'s area A for images of every aspect ratio, sorted by height,
    then width.

    One for each shorter side (a multiple, up to the square root of A), whose longer side is the
    nearest multiple, and their transposes. So the area differs from A by at most a fraction of
    multiple / (2 * sqrt(A)): 1.6% for 512x512 and 16. No side is more than ``max_aspect`` times the
    other, but ``resolution`` itself is among the buckets in any case if its sides are multiples. If
    nothing meets all this, the nearest square is the only bucket.
    """
    area = resolution[0] * resolution[1]
    sizes: set[Size] = set()
    for short in range(multiple, math.isqrt(area) + 1, multiple):
        # area / short, to the nearest
        long = (2 * area + short * multiple) // (2 * short * multiple) * multiple
        if long <= short * max_aspect:
            sizes |= {(short, long), (long, short)}
    if all(side % multiple == 0 for side in resolution):
        sizes.add(resolution)
    if not sizes:
        side = max(round(math.sqrt(area) / multiple), 1) * multiple
        sizes.add((side, side))
    return tuple(sorted(sizes))


def nearest_bucket(original: Size, buckets: tuple[Size, ...]) -> Size:
    """The bucket nearest in log aspect ratio, the first of equals."""
    aspect = math.log(original[1] / original[0])
    return min(buckets, key=lambda bucket: abs(math.log(bucket[1] / bucket[0]) - aspect))


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


def across(size: Size, orientation: int) -> Size:
    """From stored to upright or back."""
    return (size[1], size[0]) if orientation in _SWAPS_AXES else size


def stored_box(box: FloatBox, stored: Size, orientation: int) -> FloatBox:
    """An upright (top, left, bottom, right) as (left, top, right, bottom) of the stored pixels,
    Pillow's order.
    """
    top, left, bottom, right = box
    if orientation in _SWAPS_AXES:
        top, left, bottom, right = left, top, right, bottom
    if orientation in _FLIPS_ROWS:
        top, bottom = stored[0] - bottom, stored[0] - top
    if orientation in _FLIPS_COLUMNS:
        left, right = stored[1] - right, stored[1] - left
    return left, top, right, bottom


def upright_box(box: FloatBox, stored: Size, orientation: int) -> FloatBox:
    """The way back: from (left, top, right, bottom) of the stored pixels to an upright (top, left,
    bottom, right).
    """
    left, top, right, bottom = box
    if orientation in _FLIPS_ROWS:
        top, bottom = stored[0] - bottom, stored[0] - top
    if orientation in _FLIPS_COLUMNS:
        left, right = stored[1] - right, stored[1] - left
    return (left, top, right, bottom) if orientation in _SWAPS_AXES else (top, left, bottom, right)


def nearest_pixel(edge: float) -> int:
    """The whole pixel nearest to an edge; halves up, so that a box of whole size keeps it."""
    return math.floor(edge + 0.5)


def _round_down(size: Size, multiple: int) -> Size:
    height, width = (max(side // multiple, 1) * multiple for side in size)
    return height, width


def _inside(original: Size, resolution: Size) -> Size:
    """The largest size of ``original``'s aspect ratio that fits into ``resolution``, rounded
    down.
    """
    height, width = original
    max_height, max_width = resolution
    if max_height * width <= max_width * height:
        return max_height, max_height * width // height
    return max_width * height // width, max_width


def _covering(original: Size, final: Size) -> Geometry:
    """The largest centred part of ``original`` that has ``final``'s aspect ratio."""
    height, width = original
    final_height, final_width = final
    if height * final_width >= width * final_height:  # too tall: every column is kept
        kept_height, kept_width = width * final_height / final_width, float(width)
        resize_to = (-(-height * final_width // width), final_width)
    else:
        kept_height, kept_width = float(height), height * final_width / final_height
        resize_to = (final_height, -(-width * final_height // height))
    top, left = (height - kept_height) / 2, (width - kept_width) / 2
    bottom, right = min(top + kept_height, float(height)), min(left + kept_width, float(width))
    return Geometry(
        box=(top, left, bottom, right),
        crop=_whole((top, left, bottom, right), original),
        resize_to=resize_to,
        final=final,
    )


def _stretched(original: Size, final: Size) -> Geometry:
    height, width = original
    return Geometry(
        box=(0.0, 0.0, float(height), float(width)),
        crop=(0, 0, height, width),
        resize_to=final,
        final=final,
    )


def _uncut(original: Size, multiple: int) -> Geometry:
    if min(original) < multiple:
        raise SampleError(
            "decode",
            "smaller than one latent patch",
            f"{original[0]}x{original[1]}, needs {multiple}",
        )
    final = _round_down(original, multiple)
    crop = _centred(original, final)
    top, left, bottom, right = map(float, crop)
    return Geometry(
        box=(top, left, bottom, right),
        crop=crop,
        resize_to=original,
        final=final,
    )


def _centred(outer: Size, inner: Size) -> Box:
    top, left = (outer[0] - inner[0]) // 2, (outer[1] - inner[1]) // 2
    return top, left, top + inner[0], left + inner[1]


def _whole(box: FloatBox, size: Size) -> Box:
    """``box`` with its edges at the nearest pixels, but at least one pixel high and wide."""
    top, left, bottom, right = map(nearest_pixel, box)
    top, left = min(top, size[0] - 1), min(left, size[1] - 1)
    return top, left, max(bottom, top + 1), max(right, left + 1)
