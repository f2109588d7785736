"""An animated GIF, WebP, AVIF or PNG as footage, through Pillow, so that it looks as images do."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from fractions import Fraction
from types import TracebackType

import numpy as np
from PIL import Image

from energon_prep.decode.container import find_fault
from energon_prep.decode.footage import DamagedError, Picture, Timeline
from energon_prep.decode.frame_select import Shot
from energon_prep.decode.geometry import Size, across
from energon_prep.decode.image import (
    Take,
    animation_cost,
    exif_orientation,
    load_image,
    open_image,
    pillow_faults,
    take_nothing,
)
from energon_prep.decode.pixels import Pixels, opaque, to_srgb
from energon_prep.errors import SampleError
from energon_prep.formats import Kind
from energon_prep.samples import Media

# Browsers show frames that claim 10 ms or less, which GIF makers write for "as fast as you can",
# for 100 ms.
_SHORTEST_MS, _USUAL_MS = 10, 100

#: Frames of ``max_pixels`` that may be composed: a frame of one pixel makes Pillow compose its
#: whole canvas, so that a few kilobytes could keep it busy for hours.
_MOST_WHOLE_FRAMES = 64


def is_animated(data: bytes, *, max_pixels: int, take: Take = take_nothing) -> bool:
    """Whether an image has several frames. Raises SampleError for one that Pillow cannot read."""
    image = open_image(data, max_pixels, take)
    with pillow_faults():
        return int(getattr(image, "n_frames", 1)) > 1


class Animation:
    """An animated image as Footage; use it as a context. Raises SampleError as ``decode_image``
    does.
    """

    rate = None
    duration = None
    slack = Fraction(0)

    def __init__(
        self,
        media: Media,
        kind: Kind,
        *,
        max_pixels: int,
        max_seconds: float,
        take: Take = take_nothing,
    ) -> None:
        self._data = media.read()
        self._max_pixels = max_pixels
        self._max_seconds = max_seconds
        fault = find_fault(media, kind)  # which Pillow takes for the end
        if fault is not None:
            raise DamagedError(fault)
        # what an open WebP has already must suffice for its frames
        image = open_image(self._data, max_pixels, lambda num_bytes: take(2 * num_bytes))
        take(len(self._data) + animation_cost(image))
        load_image(image)
        self.stored: Size = (image.height, image.width)
        self.orientation = exif_orientation(image)
        self.shown: Size = across(self.stored, self.orientation)

    def __enter__(self) -> Animation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def shots(self, start: Fraction = Fraction(0)) -> Iterator[Shot[Picture]]:
        for time, duration, image in self._timed():
            yield Shot(
                time=time, duration=duration, picture=functools.partial(_to_rgb, image.copy())
            )

    def timeline(self) -> Timeline:
        times, end = [], Fraction(0)
        for time, duration, _ in self._timed():
            times.append(time)
            end = time + duration
        return Timeline(times=times, end=end, keyframes=[Fraction(0)])

    def average_rate(self) -> Fraction:
        return self.timeline().rate

    def check(self) -> None:
        return None

    def _timed(self) -> Iterator[tuple[Fraction, Fraction, Image.Image]]:
        """Every frame's time and duration, in seconds; the image is the same object each time, at
        another frame.
        """
        image = open_image(self._data, self._max_pixels)
        with pillow_faults():
            num_frames = int(getattr(image, "n_frames", 1))
        time = Fraction(0)
        most = _MOST_WHOLE_FRAMES * self._max_pixels // (image.width * image.height)
        # an APNG's picture for those who know no APNG
        first = 1 if getattr(image, "default_image", False) else 0
        for number in range(first, num_frames):
            if number - first >= most:
                raise SampleError(
                    "decode",
                    f"an animation of more than {_MOST_WHOLE_FRAMES} times limits.max_pixels",
                    f"{image.height}x{image.width}, {num_frames} frames",
                )
            try:
                with pillow_faults():
                    image.seek(number)
                    image.load()
            except SampleError as error:
                raise DamagedError(error.detail) from error
            milliseconds = Fraction(image.info.get("duration") or 0)
            duration = (milliseconds if milliseconds > _SHORTEST_MS else Fraction(_USUAL_MS)) / 1000
            if time > self._max_seconds:
                raise SampleError("decode", "longer than limits.max_seconds", f"{float(time):g} s")
            yield time, duration, image
            time += duration


def _to_rgb(image: Image.Image) -> Pixels:
    return np.asarray(to_srgb(opaque(image), image.info.get("icc_profile")))
