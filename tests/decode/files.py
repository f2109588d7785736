"""Image files and ICC profiles that Pillow does not write, made by hand."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from energon_prep.decode.image import decode_image
from energon_prep.recipes.model import Filters, Resize
from energon_prep.samples import Frames

GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # PNG color types
_ADAM7 = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)


def smooth(height: int, width: int, seed: int = 0) -> Image.Image:
    """A random image without fine detail, so that neither JPEG nor a resize changes it much."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def written(image: Image.Image, suffix: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, suffix, **options)
    return buffer.getvalue()


def decoded(data: bytes, *, multiple: int = 1, max_pixels: int = 10**7, **resize: Any) -> Frames:
    """Decoded as it is, unless ``resize`` says more."""
    settings = Resize(**{"mode": "none", **resize})
    return decode_image(
        data, resize=settings, multiple=multiple, max_pixels=max_pixels, filters=Filters()
    )


def lanczos(image: Image.Image, frames: Frames, shift: int = 0) -> NDArray[Any]:
    """What Pillow makes of the crop that ``frames`` report, or of that one ``shift`` pixels to the
    left.
    """
    top, left, bottom, right = frames.crop
    cut = image.crop((left - shift, top, right - shift, bottom))
    height, width = frames.pixels.shape[1:3]
    return np.asarray(cut.resize((width, height), Image.Resampling.LANCZOS)).astype(int)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    samples: NDArray[Any], color: int, *, before: bytes = b"", interlaced: bool = False
) -> bytes:
    """A PNG of ``samples`` [H, W, channels], uint8 or uint16; ``before``: chunks that precede the
    pixels.
    """
    height, width, _ = samples.shape
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = b""
    for top, left, down, right in passes:
        part = samples[top::down, left::right].astype(samples.dtype.newbyteorder(">"))
        rows += b"".join(b"\0" + row.tobytes() for row in part if row.size)
    header = struct.pack(
        ">IIBBBBB", width, height, samples.dtype.itemsize * 8, color, 0, 0, interlaced
    )
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + pixels + chunk(b"IEND", b"")


def png_header(height: int, width: int) -> bytes:
    """As much of a PNG as tells its size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, RGB, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b""))


def webp_header(height: int, width: int) -> bytes:
    """An extended WebP whose canvas claims a size."""
    extended = b"\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", len(extended)) + extended
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gray_tiff(height: int, width: int, *, bits: int, white_is_zero: bool, data: bytes) -> bytes:
    """A little-endian TIFF of one uncompressed strip."""
    tags = [
        (256, width),
        (257, height),
        (258, bits),
        (259, 1),
        (262, int(not white_is_zero)),
        (273, 8),
        (277, 1),
    ]
    tags += [(278, height), (279, len(data))]
    offset = 8 + len(data) + len(data) % 2
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", offset) + data.ljust(offset - 8, b"\0") + directory


def swapped_profile() -> bytes:
    """sRGB with its red and green primaries exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return (
        profile.replace(b"rXYZ", b"????", 1)
        .replace(b"gXYZ", b"rXYZ", 1)
        .replace(b"????", b"gXYZ", 1)
    )


def linear_gray_profile() -> bytes:
    """A gray profile of gamma 1."""
    curve = b"curv" + struct.pack(">II", 0, 0)
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _XYZ_D50, b"kTRC": curve})


def midgray_cmyk_profile() -> bytes:
    """A CMYK profile by which black ink gives L* = 0 and all else L* = 50."""
    lut = (
        b"mft1"
        + struct.pack(">IBBBB", 0, 4, 3, 2, 0)
        + struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    )
    lut += (
        bytes(range(256)) * 4 + bytes((128, 128, 128, 0, 128, 128)) * 2**3 + bytes(range(256)) * 3
    )
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"wtpt": _XYZ_D50, b"A2B0": lut})


_XYZ_D50 = b"XYZ " + struct.pack(">I3i", 0, 63190, 65536, 54061)


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """ICC.1:2001-04: a header of 128 bytes, a table of tags, their data."""
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", start + len(data), len(value))
        data += value.ljust(-(-len(value) // 4) * 4, b"\0")
    header = (
        struct.pack(">I4sI", start + len(data), b"lcms", 0x02400000) + kind + space + connection
    )
    header = header.ljust(36, b"\0") + b"acsp"
    header = header.ljust(68, b"\0") + _XYZ_D50[8:]
    return header.ljust(128, b"\0") + table + data


#: How an upright image is stored under each orientation (EXIF 2.3, tag 274), so that the viewer
#: turns it back.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright.transpose(1, 0, 2), 2),
    8: lambda upright: np.rot90(upright, -1),
}
