"""HEIC and JPEG XL through the packages that decode them, where those are installed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from energon_prep.errors import SampleError
from energon_prep.formats import FORMATS, Kind, has_plugin, install_line

if TYPE_CHECKING:
    from energon_prep.decode.geometry import Size

_CODESTREAM = (b"jxlc", b"jxlp")
_BITS = (9, 13, 18, 30)  # of a side, by its selector
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height


def require_plugin(kind: Kind) -> None:
    """Raise SampleError with the remedy unless what decodes this kind is installed."""
    if not has_plugin(kind):
        raise SampleError("decode", f"{FORMATS[kind].title} needs a plugin: {install_line(kind)}")


def open_heif(data: bytes) -> Image.Image:
    """The primary image, not decoded yet; libheif turns it upright. Raises SyntaxError if it is
    broken.
    """
    from pillow_heif.as_plugin import HeifImageFile

    image: Image.Image = HeifImageFile(io.BytesIO(data))
    return image


def open_jxl(data: bytes) -> Image.Image:
    """The decoded image, or the JPEG that was packed, not decoded yet. Raises RuntimeError if it is
    broken.

    Its pixels are upright already, whatever its EXIF block says; a JPEG's are as its own says.
    """
    from pillow_jxl import Decoder

    is_jpeg, info, pixels, profile, _ = Decoder(num_threads=0)(data)
    if is_jpeg:
        return JpegImageFile(io.BytesIO(pixels))
    image = Image.frombytes(info.mode, (info.width, info.height), pixels)
    if profile:
        image.info["icc_profile"] = profile
    return image


def jxl_size(data: bytes) -> Size:
    """(height, width) that the header claims, ISO 18181-1: the decoder asks for as much memory at
    once.

    Raises ValueError if there is no header.
    """
    bits = _Bits(_codestream(data)[2:32])
    if bits.take(1):  # both sides are multiples of 8
        height = 8 * (1 + bits.take(5))
        ratio = bits.take(3)
        width = 8 * (1 + bits.take(5)) if ratio == 0 else 0
    else:
        height = 1 + bits.take(_BITS[bits.take(2)])
        ratio = bits.take(3)
        width = 1 + bits.take(_BITS[bits.take(2)]) if ratio == 0 else 0
    if ratio:
        over, under = _RATIOS[ratio - 1]
        width = height * over // under
    return height, width


class _Bits:
    """Bits of bytes, the lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")

    def take(self, num: int) -> int:
        value = self._value & ((1 << num) - 1)
        self._value >>= num
        return value


def _codestream(data: bytes) -> bytes:
    """The beginning of the codestream: the file itself, or in its first box of that kind."""
    if data.startswith(b"\xff\x0a"):
        return data
    place = 0
    while place + 8 <= len(data):
        size, name = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        header = 8
        if size == 1:
            size, header = int.from_bytes(data[place + 8 : place + 16], "big"), 16
        if name in _CODESTREAM:
            start = place + header + (4 if name == b"jxlp" else 0)  # with the part's number
            return data[start : start + 64]
        if size < header:
            break
        place += size
    raise ValueError("no codestream in the file")
