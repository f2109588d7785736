"""A decoder's frame -> an opaque RGB picture, and the way it is turned."""

from __future__ import annotations

import struct
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from PIL import Image

from energon_prep.decode.pixels import Pixels, opaque
from energon_prep.errors import SampleError

# ITU-T H.273 numbers, as FFmpeg has them, of matrix coefficients, transfer characteristics and
# ranges.
_BT709, _UNSPECIFIED, _BT601 = 1, 2, 5
# those that swscale's own numbers distinguish
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_HDR_CURVES = {16: "PQ", 18: "HLG"}
_LIMITED, _FULL = 1, 2

#: Lines from which on video without a tag is taken for BT.709, as players do.
_HD_HEIGHT = 720

# swscale's flags bilinear, full chroma interpolation, accurate rounding and bitexact: within one
# level of the formulas and the same on every processor; the default is up to three off and repeats
# chroma samples.
_EXACT = 0x2 | 0x2000 | 0x40000 | 0x80000

# By the signs of a, b, c and d in a display matrix, which takes (x, y) to (a x + c y, b x + d y), y
# pointing down.
_ORIENTATIONS = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}


def to_rgb(frame: VideoFrame, reformatter: VideoReformatter) -> Pixels:
    """Convert to 8-bit RGB [H, W, 3] by the frame's own matrix and range, alpha laid over white.

    Untagged frames are BT.709 from 720 lines on and BT.601 below, of limited range. Primaries are
    left as they are. Raises SampleError for what swscale cannot convert.
    """
    has_alpha = frame.format.has_palette or any(
        component.is_alpha for component in frame.format.components
    )
    target = "rgba" if has_alpha else "rgb24"
    try:
        converted = reformatter.reformat(
            frame, format=target, interpolation=_EXACT, **_color_of(frame)
        )
    except (av.FFmpegError, ValueError) as error:
        raise SampleError(
            "decode", "pixel format that cannot be converted", f"{frame.format.name}: {error}"
        ) from error
    pixels = np.asarray(converted.to_ndarray(), np.uint8)
    return np.asarray(opaque(Image.fromarray(pixels))) if has_alpha else pixels


def refuse_hdr(transfer: int) -> None:
    """Raise SampleError for a transfer characteristic whose picture would need tone mapping."""
    if transfer in _HDR_CURVES:
        raise SampleError(
            "decode", "HDR video needs tone mapping: convert it to SDR first", _HDR_CURVES[transfer]
        )


def orientation_of(frame: VideoFrame) -> int:
    """The EXIF orientation that says the same as the frame's display matrix; other angles count as
    upright.
    """
    try:
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # this PyAV does not know another kind of side data that the frame has
        return {90: 8, -90: 6, 180: 3, -180: 3}.get(frame.rotation, 1)
    if matrix is None:
        return 1
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    largest = max(abs(value) for value in (a, b, c, d))
    signs = [0 if abs(value) * 2 <= largest else (1 if value > 0 else -1) for value in (a, b, c, d)]
    return next((number for number, known in _ORIENTATIONS.items() if list(known) == signs), 1)


def _color_of(frame: VideoFrame) -> dict[str, int]:
    if frame.format.is_rgb or frame.format.has_palette:
        return {}
    matrix = int(frame.colorspace)
    if matrix == _UNSPECIFIED:
        matrix = _BT709 if frame.height >= _HD_HEIGHT else _BT601
    full = int(frame.color_range) == _FULL or frame.format.name.startswith("yuvj")
    color = {"src_color_range": _FULL if full else _LIMITED, "dst_color_range": _FULL}
    return color | ({"src_colorspace": _MATRICES[matrix]} if matrix in _MATRICES else {})
