"""The bytes of an image file -> oriented, resized, cropped sRGB pixels."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import PIL
from PIL import ExifTags, Image, ImageFile, features
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from energon_prep.decode.filters import check_size, notes_of
from energon_prep.decode.geometry import TRANSPOSE, Size, across, plan_cut, plan_geometry
from energon_prep.decode.pixels import opaque, resize_image, to_srgb
from energon_prep.decode.plugins import jxl_size, open_heif, open_jxl, require_plugin
from energon_prep.errors import PrepError, SampleError
from energon_prep.formats import HEAD_BYTES, Kind, has_plugin, kind_of
from energon_prep.samples import Frames

if TYPE_CHECKING:
    from energon_prep.recipes.model import Filters, Resize

#: Waits until so many bytes may be used, instead of those that were taken before. Decoding asks for
#: them when a header was read, before anything is allocated.
Take: TypeAlias = Callable[[int], None]

_BYTES = 4  #: of a pixel, as Pillow keeps all but gray and palettes
#: Pictures that exist at once: as decoded, and laid over white, cut out or handed to torch.
_COPIES = 3
#: Where the decoder keeps its own: WebP two canvases and what it gives.
_COPIES_OF: dict[Kind, int] = {"webp": 6, "avif": 6, "heif": 6, "jxl": 6}
#: What Pillow composes frames of, three frames, and those that are in hand besides.
_COPIES_OF_ANIMATION = 10
_COEFFICIENT = 2  #: bytes; a progressive JPEG has one for each channel of each pixel, all in memory

# The only parsers that see untrusted bytes. Image.open would offer them to all that Pillow has (EPS
# runs Ghostscript), and hide why a file is broken.
_READERS: dict[Kind, type[ImageFile.ImageFile]] = {
    "jpeg": JpegImageFile,  # of an MPO the first picture
    "png": PngImageFile,
    "gif": GifImageFile,
    "bmp": BmpImageFile,
    "tiff": TiffImageFile,
    "webp": WebPImageFile,
}

# What those raise for broken files: they index, unpack and divide by what the file says.
_BAD_DATA = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    struct.error,
    zlib.error,
)


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


def decode_image(
    data: bytes,
    *,
    resize: Resize,
    multiple: int,
    max_pixels: int,
    filters: Filters,
    take: Take = take_nothing,
) -> Frames:
    """Decode the first picture of an image file to pixels [1, H, W, 3] uint8 sRGB.

    H and W are multiples of ``multiple``. EXIF orientation is applied, alpha is laid over white,
    16-bit gray is scaled and an ICC profile converted (a broken one is ignored). Resampling is
    antialiased, in one step from the decoded pixels; JPEG is decoded reduced, as far as
    ``resize.draft_gap`` allows. ``take`` is asked for the memory before it is used.

    Raises SampleError for what cannot be decoded, has more than ``max_pixels`` or is filtered out.
    """
    image = open_image(data, max_pixels, take)
    stored: Size = (image.height, image.width)
    check_size(stored, resize, filters)
    if not isinstance(image, JpegImageFile):
        take(len(data) + image_cost(kind_of(data[:HEAD_BYTES]), stored))
        load_image(image)  # PNG may keep its orientation behind the pixels; TIFF applies its own
        stored = (image.height, image.width)
    orientation = exif_orientation(image)
    original = across(stored, orientation)
    geometry = plan_geometry(
        original,
        mode=resize.mode,
        resolution=resize.resolution,
        multiple=multiple,
        max_aspect=resize.max_aspect,
    )
    scale = 1.0
    if isinstance(image, JpegImageFile):
        scale = _draft(image, across(geometry.resize_to, orientation), resize.draft_gap)
        take(len(data) + jpeg_cost(image, stored))
        load_image(image)
    decoded = (image.height, image.width)
    cut = plan_cut(
        geometry, original, orientation=orientation, decoded=decoded, scale=(scale, scale)
    )
    profile = image.info.get("icc_profile")
    with pillow_faults():
        whole = opaque(image)
    del image  # another whole picture, where it had alpha
    kept = resize_image(whole, cut, resample=resize.filter)
    if orientation in TRANSPOSE:
        kept = kept.transpose(TRANSPOSE[orientation])
    pixels = np.empty((1, *geometry.final, 3), np.uint8)
    # last, when few pixels are left
    pixels[0] = np.asarray(to_srgb(kept, profile))
    return Frames(
        pixels=pixels,
        original_height=original[0],
        original_width=original[1],
        crop=cut.crop,
        notes=notes_of(cut.crop, original, geometry.final),
    )


def open_image(data: bytes, max_pixels: int, take: Take = take_nothing) -> Image.Image:
    """Read the header and refuse what would be too large, before memory for pixels is asked for.

    ``take`` is asked for that of readers that need it at once.
    """
    _keep_pillow_from_overruling(max_pixels)
    kind = kind_of(data[:HEAD_BYTES])
    with pillow_faults():
        size: Size = (0, 0)
        if kind == "webp":
            size = _webp_canvas(data)  # its constructor already asks for it
        if kind == "jxl" and has_plugin(kind):
            size = jxl_size(data)  # is decoded as it is opened
        _check_pixels(size, max_pixels)
        if size != (0, 0):
            take(len(data) + image_cost(kind, size))
        image = _open(data, kind)
    _check_pixels((image.height, image.width), max_pixels)
    return image


def _open(data: bytes, kind: Kind) -> Image.Image:
    if kind in _READERS:
        return _READERS[kind](io.BytesIO(data))
    if kind == "avif":
        if not features.check("avif"):
            raise SampleError(
                "decode",
                "AVIF needs Pillow 11.3 or newer, built with libavif",
                f"Pillow {PIL.__version__}",
            )
        from PIL.AvifImagePlugin import AvifImageFile

        return AvifImageFile(io.BytesIO(data))
    if kind in ("heif", "jxl"):
        require_plugin(kind)
        return open_heif(data) if kind == "heif" else open_jxl(data)
    if not data:
        raise SampleError("decode", "empty file")
    raise SampleError("decode", "not an image Pillow can read", f"starts with {data[:24]!r}")


def _webp_canvas(data: bytes) -> Size:
    """(height, width) that a WebP header claims, extended, lossless or lossy."""
    if data[12:16] == b"VP8X":
        return int.from_bytes(data[27:30], "little") + 1, int.from_bytes(data[24:27], "little") + 1
    if data[12:16] == b"VP8L":
        sides = int.from_bytes(data[21:25], "little")
        return (sides >> 14 & 0x3FFF) + 1, (sides & 0x3FFF) + 1
    height, width = data[28:30], data[26:28]
    return int.from_bytes(height, "little") & 0x3FFF, int.from_bytes(width, "little") & 0x3FFF


def _check_pixels(size: Size, max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise SampleError("decode", "more pixels than limits.max_pixels", f"{size[0]}x{size[1]}")


def _keep_pillow_from_overruling(max_pixels: int) -> None:
    """Hold Pillow's process-wide switches against the recipe.

    Its pixel limit is raised, never lowered, to what the recipe allows: some readers would refuse
    less otherwise. Its leave to fill cut images with grey cannot be withdrawn for a single image.
    """
    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise PrepError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is True: cut images would end in grey. Set "
            "it to False."
        )


@contextmanager
def pillow_faults() -> Iterator[None]:
    """Turn what Pillow raises for bad data into SampleError. Wraps calls of Pillow only, lest it
    hide our own bugs.
    """
    try:
        yield
    except Image.DecompressionBombError as error:
        raise SampleError("decode", "more pixels than limits.max_pixels", str(error)) from error
    except _BAD_DATA as error:
        detail = f"{type(error).__name__}: {error}"
        reason = "truncated image" if "truncated" in detail.lower() else "broken image"
        raise SampleError("decode", reason, detail) from error


def load_image(image: Image.Image) -> None:
    with pillow_faults():
        image.load()


def exif_orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; a broken EXIF block says 1, as in browsers."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except _BAD_DATA:
        return 1
    return orientation if isinstance(orientation, int) and orientation in TRANSPOSE else 1


def _draft(image: JpegImageFile, target: Size, gap: float) -> float:
    """Have a JPEG decoded at 1/2, 1/4 or 1/8 while ``gap`` times ``target`` is left; returns which,
    1.0 for whole.
    """
    width = image.width
    drafted = image.draft(None, (math.ceil(target[1] * gap), math.ceil(target[0] * gap)))
    return drafted[1][2] / width if drafted else 1.0
