"""Pixels of any mode Pillow knows -> opaque 8-bit sRGB."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    PHOTOMETRIC_INTERPRETATION,
    SAMPLEFORMAT,
    TiffImageFile,
)

from energon_prep.errors import SampleError

_WHITE_IS_ZERO = 0  # of the TIFF tag PhotometricInterpretation
_SIGNED = 2  # of the TIFF tag SampleFormat; Pillow gives 8 bits of it as if they were unsigned
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
    layer = image.convert(f"{mode}A")
    white = Image.new(mode, image.size, "white")
    white.paste(layer.convert(mode), mask=layer.getchannel("A"))
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
