"""Real videos, made with PyAV, whose frames tell their own number."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

BITS = 12

Pixels = NDArray[np.uint8]

#: Each codec that the bundled FFmpeg encodes, in the containers it is met in: suffix, encoder,
#: encoder's options.
FORMATS: dict[str, tuple[str, str, dict[str, str]]] = {
    "mp4-h264": ("mp4", "libx264", {"crf": "18", "g": "12", "bf": "2"}),
    "mp4-h264-open-gop": (
        "mp4",
        "libx264",
        {"crf": "18", "g": "12", "bf": "3", "x264-params": "open-gop=1"},
    ),
    "mov-hevc": (
        "mov",
        "libx265",
        {"crf": "18", "x265-params": "log-level=none:keyint=12:min-keyint=12"},
    ),
    "mp4-av1": ("mp4", "libsvtav1", {"crf": "25", "preset": "12", "g": "12"}),
    "mp4-mpeg4": ("mp4", "mpeg4", {"qscale": "2", "g": "12", "bf": "2"}),
    "webm-vp8": (
        "webm",
        "libvpx",
        {"b:v": "4M", "crf": "4", "cpu-used": "8", "g": "12", "auto-alt-ref": "1"},
    ),
    "webm-vp9": ("webm", "libvpx-vp9", {"b:v": "0", "crf": "20", "cpu-used": "8", "g": "12"}),
    "webm-av1": ("webm", "libsvtav1", {"crf": "25", "preset": "12", "g": "12"}),
    "mkv-h264": ("mkv", "libx264", {"crf": "18", "g": "12", "bf": "2"}),
    "mkv-hevc": (
        "mkv",
        "libx265",
        {"crf": "18", "x265-params": "log-level=none:keyint=12:min-keyint=12"},
    ),
    "avi-mpeg4": ("avi", "mpeg4", {"qscale": "2", "g": "12"}),
    "avi-mpeg4-b": ("avi", "mpeg4", {"qscale": "2", "g": "12", "bf": "2"}),
    "avi-h264": ("avi", "libx264", {"crf": "18", "g": "12", "bf": "2"}),
    "avi-mjpeg": ("avi", "mjpeg", {"qscale": "2"}),
    "mov-prores": ("mov", "prores_ks", {}),
    "mkv-ffv1": ("mkv", "ffv1", {}),
    "ts-h264": ("ts", "libx264", {"crf": "18", "g": "12", "bf": "2"}),
    "m2ts-mpeg2": ("m2ts", "mpeg2video", {"qscale": "2", "g": "12", "bf": "2"}),
    "mpg-mpeg2": ("mpg", "mpeg2video", {"qscale": "2", "g": "12", "bf": "2"}),
    "flv-h264": ("flv", "libx264", {"crf": "18", "g": "12", "bf": "2"}),
    "wmv-wmv2": ("wmv", "wmv2", {"qscale": "2", "g": "12"}),
    "ogv-vp8": ("ogv", "libvpx", {"b:v": "4M", "crf": "4", "cpu-used": "8", "g": "12"}),
}
PIXEL_FORMATS = {"mjpeg": "yuvj420p", "prores_ks": "yuv422p10le"}


def numbered(number: int, height: int, width: int) -> Pixels:
    """[H, W, 3]: the number's bits as white and black bars, the lowest at the left, over a
    colourful ground.
    """
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack(
        [x * 200 // width + 20, y * 200 // height + 20, np.full_like(x, 90)], axis=-1
    ).astype(np.uint8)
    for bit in range(BITS):
        image[: height * 2 // 3, bit * width // BITS : (bit + 1) * width // BITS] = (
            235 if number >> bit & 1 else 20
        )
    return image


def number_of(pixels: Pixels) -> int:
    """The number that [H, W, 3] shows, whatever its size."""
    height, width = pixels.shape[:2]
    rows = pixels[height // 8 : height // 2].mean(axis=(0, 2))
    middles = [int((bit + 0.5) * width / BITS) for bit in range(BITS)]
    return sum(1 << bit for bit, middle in enumerate(middles) if rows[middle] > 128)


def numbers_of(pixels: Pixels) -> list[int]:
    """Of every frame of [T, H, W, 3]."""
    return [number_of(frame) for frame in pixels]


def make_video(
    name: str = "mp4-h264",
    *,
    num: int = 30,
    height: int = 48,
    width: int = 96,
    rate: Fraction | int = 24,
    times: Sequence[int] | None = None,
    picture: Callable[[int, int, int], Pixels] = numbered,
    pixel_format: str | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    tags: dict[str, int] | None = None,
    rotation: dict[str, Any] | None = None,
    with_audio: bool = False,
) -> bytes:
    """A video of ``num`` frames in one of FORMATS. ``times``: of each frame, in milliseconds,
    instead of ``rate``.

    MP4 and MOV begin with their index, as files made for the web do. ``tags``: colorspace,
    color_range, ... of the stream. ``rotation``: arguments of set_display_rotation.
    """
    suffix, codec, encoder_options = FORMATS[name]
    # x265 looks back at two frames for decoding times, and takes what lies in memory for them.
    assert num > 2 or codec != "libx265", "give 3 frames or more"
    muxer = {"movflags": "+faststart"} if suffix in ("mp4", "mov") else {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"video.{suffix}")
        with av.open(str(path), "w", options=muxer | (container_options or {})) as container:
            stream = container.add_stream(
                codec, rate=rate, options=encoder_options | (options or {})
            )
            stream.height, stream.width = height, width
            stream.pix_fmt = pixel_format or PIXEL_FORMATS.get(codec, "yuv420p")
            for tag, value in (tags or {}).items():
                setattr(stream.codec_context, tag, value)
            if rotation is not None:
                stream.set_display_rotation(**rotation)
            if times is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
            if with_audio:
                _add_silence(container, seconds=num / rate)
            for number in range(num):
                pixels = picture(number, height, width)
                frame = av.VideoFrame.from_ndarray(
                    pixels, format="rgb24" if pixels.shape[2] == 3 else "rgba"
                )
                if times is not None:
                    frame.pts, frame.time_base = times[number], Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        _leave_real_time()
        return path.read_bytes()


def _leave_real_time() -> None:
    """SVT-AV1, run as root, leaves the calling thread in the real-time scheduling class: two test
    workers that are in it starve the threads they wait for, and take minutes for seconds."""
    if hasattr(os, "sched_setscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def make_animation(
    suffix: str, durations: Sequence[int], *, height: int = 48, width: int = 96, **options: Any
) -> bytes:
    """An animated GIF, WEBP, AVIF or PNG whose frames last so many milliseconds."""
    images = [Image.fromarray(numbered(number, height, width)) for number in range(len(durations))]
    buffer = io.BytesIO()
    images[0].save(
        buffer, suffix, save_all=True, append_images=images[1:], duration=list(durations), **options
    )
    return buffer.getvalue()


def _add_silence(container: Any, *, seconds: float) -> None:
    stream = container.add_stream("aac", rate=16000)
    for start in range(0, int(seconds * 16000), 1024):
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts = 16000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
