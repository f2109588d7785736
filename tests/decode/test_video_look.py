"""Colours, orientation and sizes of frames."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from energon_prep.recipes.model import Limits
from tests.decode.files import STORED, decoded, smooth, written
from tests.decode.videos import clips, numbers, rejected
from tests.media_files import make_video, numbers_of

BT709, UNTAGGED, BT601, BT2020 = 1, 2, 5, 9
LIMITED, FULL = 1, 2


def flat(color: tuple[int, int, int], bits: int = 8, height: int = 32) -> Any:
    """A lossless video of one frame of one Y'CbCr color, and how to tag it."""
    scale = 2 ** (bits - 8)

    def make(matrix: int, color_range: int, pixel_format: str) -> bytes:
        frame = av.VideoFrame(48, height, pixel_format)
        frame.colorspace, frame.color_range = matrix, color_range
        for plane, value in zip(frame.planes, color, strict=True):
            dtype = np.uint16 if bits > 8 else np.uint8
            plane.update(
                np.full(plane.buffer_size // dtype().itemsize, value * scale, dtype).tobytes()
            )
        return encoded([frame], matrix, color_range)

    return make


def encoded(frames: list[Any], matrix: int, color_range: int) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.height, stream.width, stream.pix_fmt = (
            frames[0].height,
            frames[0].width,
            frames[0].format.name,
        )
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, color_range
        for frame in frames:
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def expected(
    color: tuple[int, int, int], kr: float, kb: float, *, full: bool, bits: int = 8
) -> list[int]:
    """ITU-T H.273, equations 20 to 25 and 38 to 40, solved for R, G and B; ``color`` in 8 bits."""
    scale = 2 ** (bits - 8)
    y, b, r = color[0] * scale, (color[1] - 128) * scale, (color[2] - 128) * scale
    if full:
        y, b, r = (value / (2**bits - 1) for value in (y, b, r))
    else:
        y, b, r = (y - 16 * scale) / (219 * scale), b / (224 * scale), r / (224 * scale)
    red, blue = y + 2 * (1 - kr) * r, y + 2 * (1 - kb) * b
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return [round(255 * min(max(value, 0), 1)) for value in (red, green, blue)]


WEIGHTS = {BT709: (0.2126, 0.0722), BT601: (0.299, 0.114), BT2020: (0.2627, 0.0593)}
COLORS = [
    (81, 90, 200),
    (145, 54, 34),
    (60, 140, 120),
    (16, 128, 128),
    (235, 128, 128),
    (128, 128, 128),
]


@pytest.mark.parametrize(
    ("pixel_format", "bits"),
    [("yuv420p", 8), ("yuv420p10le", 10), ("yuv422p10le", 10), ("yuv444p", 8)],
)
@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize("color_range", [0, LIMITED, FULL])
def test_matrix_and_range(pixel_format, bits, matrix, color_range):
    for color in COLORS:
        (clip,) = clips(flat(color, bits)(matrix, color_range, pixel_format))
        wanted = expected(color, *WEIGHTS[matrix], full=color_range == FULL, bits=bits)
        assert np.abs(clip.pixels[0, 16, 24].astype(int) - wanted).max() <= 1


@pytest.mark.parametrize(
    ("height", "matrix"), [(480, BT601), (718, BT601), (720, BT709), (1080, BT709)]
)
def test_untagged_video_is_taken_as_players_do(height, matrix):
    color = (81, 90, 200)
    (clip,) = clips(flat(color, height=height)(UNTAGGED, 0, "yuv420p"))
    assert (
        np.abs(
            clip.pixels[0, 16, 24].astype(int) - expected(color, *WEIGHTS[matrix], full=False)
        ).max()
        <= 1
    )
    assert expected(color, *WEIGHTS[BT601], full=False) != expected(
        color, *WEIGHTS[BT709], full=False
    )


def test_full_range_of_mjpeg():
    (clip,) = clips(
        make_video(
            "avi-mjpeg", num=1, picture=lambda i, h, w: np.full((h, w, 3), (250, 128, 4), np.uint8)
        )
    )
    assert np.abs(clip.pixels[0, 20, 20].astype(int) - (250, 128, 4)).max() <= 2


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_refused(transfer):
    data = make_video(
        "mov-hevc",
        num=3,
        pixel_format="yuv420p10le",
        tags={"color_trc": transfer, "color_primaries": 9, "colorspace": 9},
    )
    error = rejected(data)
    assert (error.stage, error.detail) == ("decode", {16: "PQ", 18: "HLG"}[transfer])
    assert "tone mapping" in error.reason


# this libvpx makes no VP9 of 10 bits
@pytest.mark.parametrize("name", ["mp4-h264", "mov-hevc", "webm-av1"])
def test_ten_bits(name):
    upright = np.asarray(smooth(48, 96))
    data = make_video(name, num=3, picture=lambda *_: upright, pixel_format="yuv420p10le")
    (clip,) = clips(data)
    assert np.abs(clip.pixels[1].astype(int) - upright).mean() < 4


def test_transparency_is_laid_over_white():
    rgba = np.zeros((32, 48, 4), np.uint8)
    rgba[...] = (200, 100, 50, 255)
    rgba[:, 24:, 3] = 0
    (clip,) = clips(
        encoded(
            [av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format="bgra")], UNTAGGED, 0
        )
    )
    assert clip.pixels[0, 5, 5].tolist() == [200, 100, 50]
    assert clip.pixels[0, 5, 40].tolist() == [255, 255, 255]


TURNS = {
    1: {"degrees": 0},
    2: {"degrees": 0, "hflip": True},
    3: {"degrees": 180},
    4: {"degrees": 0, "vflip": True},
    5: {"degrees": -90, "hflip": True},
    6: {"degrees": -90},
    7: {"degrees": 90, "hflip": True},
    8: {"degrees": 90},
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("name", ["mp4-h264", "mov-hevc"])
def test_orientation(name, orientation):
    upright = np.asarray(smooth(64, 112, seed=3))
    stored = np.ascontiguousarray(STORED[orientation](upright))
    data = make_video(
        name,
        num=3,
        height=stored.shape[0],
        width=stored.shape[1],
        picture=lambda *_: stored,
        rotation=TURNS[orientation],
    )
    (clip,) = clips(data)
    assert (clip.original_height, clip.original_width) == (64, 112)
    assert clip.pixels.shape == (3, 64, 112, 3)
    assert np.abs(clip.pixels[0].astype(int) - upright).mean() < 4
    (cropped,) = clips(data, multiple=48)  # an uneven remainder, so that a flipped crop would show
    top, left, bottom, right = cropped.crop
    assert cropped.crop == (8, 8, 56, 104)
    assert np.abs(cropped.pixels[0].astype(int) - upright[top:bottom, left:right]).mean() < 4


def test_a_display_matrix_as_phones_write_it():
    """ISO 14496-12: {a, b, u, c, d, v, x, y, w}; a quarter turn clockwise has b = 1 and c = -1."""
    data = bytearray(make_video(num=2))
    upright = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    place = data.index(upright, data.index(b"tkhd"))
    data[place : place + 36] = struct.pack(
        ">9i", 0, 0x10000, 0, -0x10000, 0, 0, 48 << 16, 0, 0x40000000
    )
    (clip,) = clips(bytes(data))
    assert clip.pixels.shape == (2, 96, 48, 3)
    assert numbers_of(np.rot90(clip.pixels, 1, axes=(1, 2))) == [0, 1]


@pytest.mark.parametrize("name", ["webm-vp9", "mkv-ffv1", "mp4-av1"])
def test_odd_sizes(name):
    (clip,) = clips(make_video(name, num=3, height=67, width=101))
    assert clip.pixels.shape == (3, 67, 101, 3)
    assert numbers_of(clip.pixels) == [0, 1, 2]
    (clip,) = clips(make_video(name, num=3, height=67, width=101), multiple=16)
    assert clip.pixels.shape == (3, 64, 96, 3)
    assert clip.crop == (1, 2, 65, 98)


@pytest.mark.parametrize(
    ("aspect", "shown"),
    [(Fraction(2), (48, 192)), (Fraction(1, 2), (96, 96)), (Fraction(32, 27), (48, 114))],
)
def test_pixels_that_are_not_square(aspect, shown):
    data = make_video("mp4-h264", num=2, tags={"sample_aspect_ratio": aspect})
    (clip,) = clips(data)
    assert (clip.original_height, clip.original_width) == shown
    assert clip.pixels.shape == (2, *shown, 3)
    assert numbers(data) == [[0, 1]]


@pytest.mark.parametrize("mode", ["bucket", "crop", "fit", "stretch"])
@pytest.mark.parametrize("filter_name", ["lanczos", "box"])
def test_frames_look_as_images_do(mode, filter_name):
    """The same geometry and the same filter."""
    photo = smooth(90, 160, seed=5)
    resize = {"mode": mode, "resolution": 64, "filter": filter_name}
    data = make_video(
        "mkv-ffv1",
        num=2,
        height=90,
        width=160,
        picture=lambda *_: np.asarray(photo),
        pixel_format="bgra",
    )
    (clip,) = clips(data, resize=resize, multiple=16)
    image = decoded(written(photo, "PNG"), multiple=16, **resize)
    np.testing.assert_array_equal(clip.pixels[1], image.pixels[0])
    assert (clip.crop, clip.original_height, clip.original_width) == (image.crop, 90, 160)


def test_size_that_changes_within_the_video():
    first, second = make_video("webm-vp8", num=4), make_video("webm-vp8", num=4, height=64)
    data = spliced(first, second)
    error = rejected(data)
    assert (error.reason, error.detail) == (
        "frame size changes within the video",
        "from 48x96 to 64x96",
    )
    assert numbers(data, "head", 4) == [[0, 1, 2, 3]]
    larger = spliced(first, make_video("webm-vp8", num=4, height=480, width=960))
    error = rejected(larger, limits=Limits(max_pixels=48 * 96))
    # not even decoded
    assert error.detail == "decoded 4 of 1000 frames: ArgumentError: Invalid argument"


def spliced(first: bytes, second: bytes) -> bytes:
    """The packets of both in one stream, as if the camera had been switched over."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="webm") as container, av.open(io.BytesIO(first)) as source:
        stream = container.add_stream_from_template(source.streams.video[0])
        for number, data in enumerate((first, second)):
            with av.open(io.BytesIO(data)) as part:
                for packet in part.demux(part.streams.video[0]):
                    if packet.size:
                        packet.pts = packet.dts = packet.pts + 1000 * number
                        packet.stream = stream
                        container.mux(packet)
    return buffer.getvalue()


def test_pictures_own_their_memory():
    (clip,) = clips(make_video(num=2))
    assert (
        clip.pixels.flags.c_contiguous and clip.pixels.flags.owndata and clip.pixels.flags.writeable
    )
    assert Image.fromarray(clip.pixels[0]).size == (96, 48)
