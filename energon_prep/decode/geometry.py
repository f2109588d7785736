"""Which pixels of an image are kept, and the size they come to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from energon_prep.errors import SampleError

Size = tuple[int, int]  #: (height, width)
Box = tuple[int, int, int, int]  #: (top, left, bottom, right)
FloatBox = tuple[float, float, float, float]
Mode = Literal["bucket", "crop", "fit", "stretch", "none"]


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The plan for one image. ``box`` is exact, the integers are derived from it."""

    box: FloatBox  #: (top, left, bottom, right) of what is kept, in original pixels
    crop: Box  #: ``box`` in whole original pixels, never empty
    #: of the whole image at the scale of the crop, rounded up, so never smaller than ``final``
    resize_to: Size
    resized_crop: Box  #: of ``final`` in the whole image at ``resize_to``
    final: Size  #: the size the encoder sees


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
        resized_crop=_centred(resize_to, final),
        final=final,
    )


def _stretched(original: Size, final: Size) -> Geometry:
    height, width = original
    return Geometry(
        box=(0.0, 0.0, float(height), float(width)),
        crop=(0, 0, height, width),
        resize_to=final,
        resized_crop=(0, 0, *final),
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
        resized_crop=crop,
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
