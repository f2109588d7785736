"""Pixels of any mode that Pillow knows -> opaque 8-bit sRGB, and what is kept of them -> its final
size.
"""

from __future__ import annotations

import io
import warnings
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    PHOTOMETRIC_INTERPRETATION,
    SAMPLEFORMAT,
    TiffImageFile,
)

from energon_prep.decode.geometry import Cut, Size
from energon_prep.errors import SampleError

_WHITE_IS_ZERO = 0  # of the TIFF tag PhotometricInterpretation
_SIGNED = 2  # of the TIFF tag SampleFormat; Pillow gives 8 bits of it as if they were unsigned
#: that are laid over white at once: the copies this makes are of so many
_STRIP_PIXELS = 2**20
# (of the image, of the profile)
_FITS = {("L", "L"), ("L", "RGB"), ("RGB", "RGB"), ("CMYK", "CMYK")}


def opaque(image: Image.Image) -> Image.Image:
    """The loaded ``image`` in mode L, RGB or CMYK, 8 bits a channel, alpha laid over white.

    16-bit gray is scaled by 255/65535 and rounded; of other 16-bit channels Pillow keeps the upper
    byte, which is less than one level off. Raises SampleError for floating-point, signed and 32-bit
    pixels, whose white is not known.
    """
    if image.mode in ("F", "I"):
        raise SampleError("decode", "floating-point, signed or 32-bit pixels", f"mode {image.mode}")
    if isinstance(image, TiffImageFile) and _SIGNED in image.tag_v2.get(SAMPLEFORMAT, ()):
        raise SampleError(
            "decode", "floating-point, signed or 32-bit pixels", f"signed, mode {image.mode}"
        )
    if image.mode.startswith("I;16"):
        return _gray_from_16_bit(image)
    if image.has_transparency_data:
        return _over_white(image)
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """``image`` (L, RGB or CMYK) as sRGB, by its ICC profile. A broken profile or one of another
    kind is ignored.
    """
    mode, transform = _profile_to_srgb(profile) if profile else ("", None)
    if transform is None or (image.mode, mode) not in _FITS:
        return image.convert("RGB")
    return transform.apply(image.convert(mode))


@lru_cache(maxsize=64)
def _profile_to_srgb(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """The mode an ICC profile describes and its transform to sRGB, None if it is broken or is sRGB
    itself.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(
            source.profile.xcolor_space.strip(), ""
        )
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode == "RGB" and _moves_nothing(transform):
            return mode, None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return "", None
    return mode, transform


def _moves_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether no color moves by more than one level of 255: most profiles are sRGB, and then the
    work is spared.
    """
    steps = np.arange(0, 256, 15, dtype=np.uint8)  # 0 .. 255 in 18 steps
    colors = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    moved = np.asarray(transform.apply(Image.fromarray(colors)))
    return int(np.abs(moved.astype(np.int16) - colors).max()) <= 1


def _over_white(image: Image.Image) -> Image.Image:
    key = image.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:
        # of a 16-bit PNG, whose pixels Pillow has cut to 8 bits
        image.info["transparency"] = tuple(value >> 8 for value in key)
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    white = Image.new(mode, image.size, "white")
    rows = max(_STRIP_PIXELS // image.width, 1)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        layer = image.crop(box).convert(f"{mode}A")
        white.paste(layer.convert(mode), box, mask=layer.getchannel("A"))
    return white


def _gray_from_16_bit(image: Image.Image) -> Image.Image:
    bits, white_is_zero = 16, False
    if isinstance(image, TiffImageFile):
        bits = image.tag_v2.get(BITSPERSAMPLE, (16,))[0]
        white_is_zero = image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO
    largest = 2**bits - 1
    levels = (np.minimum(np.arange(65536), largest) * 255 + largest // 2) // largest
    if white_is_zero:
        levels = 255 - levels
    values = np.asarray(image)
    gray = levels.astype(np.uint8)[values]
    key: Any = image.info.get("transparency")
    if isinstance(key, int):
        gray[values == key] = 255
    return Image.fromarray(gray)


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
