"""The kept part of a picture -> its final size, as Pillow resamples it but several times faster."""

from __future__ import annotations

import warnings
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image

from energon_prep.decode.cut import Cut
from energon_prep.decode.geometry import Size

Pixels: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]

# Torch needs 10 bytes more for each pixel that is cut out, Pillow almost none: it does what would
# take a third of a GB.
_MOST_PIXELS = 2**25


def resize_image(image: Image.Image, cut: Cut, *, resample: str) -> Image.Image:
    """Resample ``cut`` of a loaded image of 8 bits a channel, antialiased. ``resample``: as
    ``Resize.filter`` has it.

    A box of whole pixels is cut out first, so that what is outside has no part in the result. Then
    RGB goes through torch where that has the filter: within two levels of Pillow, when that too
    takes rows before columns (Pillow 13 does not where the height shrinks much more than the
    width). Torch's kernel for bytes runs in the caller's thread alone.
    """
    height, width = cut.size
    method = Image.Resampling[resample.upper()]
    if not _is_whole(cut):
        return image.resize((width, height), method, cut.box)
    left, top, right, bottom = map(int, cut.box)
    if (left, top, right, bottom) != (0, 0, *image.size):
        image = image.crop((left, top, right, bottom))
    if image.size == (width, height):
        return image
    if (
        image.mode == "RGB"
        and resample in _TORCH_FILTERS
        and image.width * image.height <= _MOST_PIXELS
    ):
        return Image.fromarray(_interpolate(np.asarray(image), cut.size, resample))
    return image.resize((width, height), method)


def resize_pixels(pixels: Pixels, cut: Cut, *, resample: str) -> Pixels:
    """What ``resize_image`` does, from opaque RGB [H, W, 3] to the same, as an array of its own."""
    left, top, right, bottom = map(int, cut.box)
    kept = pixels[top:bottom, left:right]
    if _is_whole(cut) and kept.shape[:2] == cut.size:
        return kept.copy()
    if _is_whole(cut) and resample in _TORCH_FILTERS and kept.size <= 3 * _MOST_PIXELS:
        return _interpolate(np.ascontiguousarray(kept), cut.size, resample)
    return np.array(resize_image(Image.fromarray(pixels), cut, resample=resample))


def _is_whole(cut: Cut) -> bool:
    return not any(edge % 1 for edge in cut.box)


def _interpolate(pixels: Pixels, size: Size, resample: str) -> Pixels:
    """``pixels`` must be contiguous: others torch would copy first, and wake its pool of threads
    for that.
    """
    planes = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)  # [1, 3, H, W], channels last
    resized = F.interpolate(planes, size, mode=resample, antialias=True)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def _torch_filters() -> frozenset[str]:
    """The filters for which this torch has a kernel that is faster than Pillow on this
    processor.
    """
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        return frozenset()
    found = set()
    pixels: Pixels = np.frombuffer(bytes(48), np.uint8).reshape(4, 4, 3)
    with warnings.catch_warnings():
        # once per process torch says that it could write to pixels we only read
        warnings.simplefilter("ignore")
        for name in ("lanczos", "bicubic", "bilinear"):
            try:
                _interpolate(pixels, (2, 2), name)
            except (ValueError, NotImplementedError):  # older ones do not know lanczos
                continue
            found.add(name)
    return frozenset(found)


_TORCH_FILTERS = _torch_filters()
