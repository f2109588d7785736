"""The memory that decoding takes, weighed by what a header declares, before it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import av
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from energon_prep.decode.geometry import Size
from energon_prep.formats import Kind

#: Waits until so many bytes may be used, instead of those that were taken before.
Take: TypeAlias = Callable[[int], None]

_BYTES = 4  #: of a pixel, as Pillow keeps all but gray and palettes
#: Pictures that exist at once: as decoded, and laid over white, cut out or handed to torch.
_COPIES = 3
#: Where the decoder keeps its own: WebP two canvases and what it gives.
_COPIES_OF: dict[Kind, int] = {"webp": 6, "avif": 6, "heif": 6, "jxl": 6}
#: What Pillow composes frames of, three frames, and those that are in hand besides.
_COPIES_OF_ANIMATION = 10
_COEFFICIENT = 2  #: bytes; a progressive JPEG has one for each channel of each pixel, all in memory

#: Pictures that a decoder keeps to refer to, and the one it works on; by FFmpeg's names.
_REFERENCES = {"h264": 17, "hevc": 17}
_FEWER_REFERENCES = 10  #: of all others: VP9 and AV1 have 8
_UNKNOWN_BITS = 48
_RGB_BYTES = 9  #: of a pixel on its way from a frame: converted, as an array, cut out


def take_nothing(num_bytes: int) -> None:
    """A ``Take`` for who decodes one sample at a time."""


def image_cost(kind: Kind, size: Size) -> int:
    """Bytes that decoding a still image of this size takes."""
    return size[0] * size[1] * _BYTES * _COPIES_OF.get(kind, _COPIES)


def jpeg_cost(image: JpegImageFile, stored: Size) -> int:
    """Bytes that decoding a JPEG takes that was drafted from its ``stored`` size."""
    cost = image_cost("jpeg", (image.height, image.width))
    if image.info.get("progressive"):
        cost += stored[0] * stored[1] * _COEFFICIENT * image.layers
    return cost


def animation_cost(image: Image.Image) -> int:
    """Bytes that composing frame after frame takes."""
    return image.width * image.height * _BYTES * _COPIES_OF_ANIMATION


def video_cost(context: av.VideoCodecContext) -> int:
    """Bytes that decoding frame after frame takes."""
    bits = context.format.padded_bits_per_pixel if context.format else _UNKNOWN_BITS
    frame = context.width * context.height * bits // 8
    references = _REFERENCES.get(context.name, _FEWER_REFERENCES)
    cost: int = frame * references + context.width * context.height * _RGB_BYTES
    return cost
