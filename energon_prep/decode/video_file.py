"""A video file as footage, its frames with their times in seconds."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from types import TracebackType
from typing import Any

import av
from av.video.reformatter import VideoReformatter

from energon_prep.decode.footage import DamagedError, Picture, Timeline, true_rate
from energon_prep.decode.frame_color import orientation_of, refuse_hdr, to_rgb
from energon_prep.decode.frame_select import Shot
from energon_prep.decode.geometry import Size, across
from energon_prep.decode.image import Take, take_nothing
from energon_prep.decode.video_stream import VideoStream
from energon_prep.errors import SampleError
from energon_prep.formats import Kind
from energon_prep.samples import Media

#: Files whose timestamps are counted from where reading began, or are there for some frames only.
_READ_FROM_START: frozenset[Kind] = frozenset({"avi", "mpeg"})

_FRAME_SECONDS = Fraction(1, 25)  # of a frame of which the file tells neither duration nor rate


#: Pictures that a decoder keeps to refer to, and the one it works on; by FFmpeg's names.
_REFERENCES = {"h264": 17, "hevc": 17}
_FEWER_REFERENCES = 10  #: of all others: VP9 and AV1 have 8
_UNKNOWN_BITS = 48
_RGB_BYTES = 9  #: of a pixel on its way from a frame: converted, as an array, cut out


class _Timing:
    """What remains of a packet when its data is let go."""

    def __init__(self, packet: Any) -> None:
        self.pts = packet.pts
        self.dts = packet.dts or 0
        self.duration = packet.duration
        self.is_keyframe = packet.is_keyframe


class VideoFile:
    """An MP4, MOV, WebM, Matroska or AVI file as Footage; use it as a context.

    Raises SampleError for what is no video, exceeds the limits or is HDR, DamagedError for what is
    broken.
    """

    def __init__(
        self,
        media: Media,
        kind: Kind,
        *,
        max_pixels: int,
        max_seconds: float,
        take: Take = take_nothing,
    ) -> None:
        self._media = media
        self._kind = kind
        self._max_pixels = max_pixels
        self._max_seconds = max_seconds
        # from the start on, while no one has taken them
        self._first_frames: Iterator[Any] | None = None
        self._reformatter = VideoReformatter()
        self._stream = VideoStream(media, kind, max_pixels=max_pixels)
        self.rate = self._stream.rate
        self.duration = self._stream.duration
        self.slack = Fraction(0)
        if self.rate and self._stream.tick * self.rate <= Fraction(1, 4):
            # coarser ticks count the frames themselves
            self.slack = self._stream.tick / 2
        self._check_seconds(self.duration or Fraction(0))
        context = self._stream.codec_context
        self._check_pixels((context.height, context.width))
        take(_cost(context))
        self._begin()

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()

    def shots(self, start: Fraction = Fraction(0)) -> Iterator[Shot[Picture]]:
        shots = self._sought(start) if start > 0 else None
        if shots is not None:
            return shots
        if self._first_frames is None:
            self._restart()
            return self._shots(self._stream.frames())
        frames, self._first_frames = self._first_frames, None
        return self._shots(frames)

    def timeline(self) -> Timeline:
        self._restart()
        timings = self._timings()
        if self._kind == "avi" or any(timing.pts is None for timing in timings):
            # what counts frames instead of timing them
            ticks = sorted(timing.dts for timing in timings)
            shown = {(tick - ticks[0]) * self._stream.tick: timings[-1] for tick in ticks}
            keyframes = [Fraction(0)]
        else:
            shown = {
                self._seconds(timing.pts): timing
                for timing in timings
                if timing.pts >= self._origin
            }
            keyframes = sorted(
                {Fraction(0)} | {time for time, timing in shown.items() if timing.is_keyframe}
            )
        if self._kind in _READ_FROM_START:
            keyframes = [Fraction(0)]
        if not shown:
            raise DamagedError("no packets")
        end = max(time + self._duration(timing) for time, timing in shown.items())
        self._check_seconds(end)
        return Timeline(times=sorted(shown), end=end, keyframes=keyframes)

    def average_rate(self) -> Fraction:
        if self.rate is not None and self._kind != "matroska":
            return self.rate
        timeline = self.timeline()  # Matroska declares what its writer had in mind
        if self.rate is None:
            return timeline.rate
        return true_rate(self.rate, len(timeline.times), timeline.times[-1])

    def check(self) -> None:
        self._stream.check_so_far()

    def _begin(self) -> None:
        """Decode the first frame, which tells what the header may not."""
        frames = self._stream.frames()
        frame = next(frames, None)
        if frame is None:
            raise self._stream.refusal("no frames in the video")
        refuse_hdr(int(self._stream.codec_context.color_trc))
        self._first_frames = itertools.chain((frame,), frames)
        self._origin: int = frame.pts or 0  # of all times, in ticks
        self.stored: Size = (frame.height, frame.width)
        self.orientation = orientation_of(frame)
        self.shown: Size = across(_square(self.stored, self._stream.aspect), self.orientation)
        for size in (self.stored, self.shown):
            self._check_pixels(size)

    def _restart(self) -> None:
        self._stream.close()
        self._stream = VideoStream(self._media, self._kind, max_pixels=self._max_pixels)
        self._first_frames = None

    def _timings(self) -> list[_Timing]:
        timings: list[_Timing] = []
        try:
            for packet in self._stream.packets():
                if packet.size and not packet.is_discard:
                    timings.append(_Timing(packet))
        except DamagedError as error:
            raise DamagedError(f"{error}, after {len(timings)} frames") from error
        return timings

    def _sought(self, start: Fraction) -> Iterator[Shot[Picture]] | None:
        """The shots from a keyframe before ``start`` on; None if seeking does not lead there."""
        if self._kind in _READ_FROM_START:
            return None
        self._first_frames = None
        with suppress(DamagedError):
            self._stream.seek(self._origin + int(start / self._stream.tick))
            shots = self._shots(self._stream.frames())
            first = next(shots, None)
            if first is not None and first.time <= start + self.slack:
                return itertools.chain((first,), shots)
        return None

    def _shots(self, frames: Iterator[Any]) -> Iterator[Shot[Picture]]:
        """Give every frame its time; one without, or with one that goes back, follows the frame
        before it.
        """
        previous: Shot[Picture] | None = None
        for frame in frames:
            if (frame.height, frame.width) != self.stored:
                detail = f"from {self.stored[0]}x{self.stored[1]} to {frame.height}x{frame.width}"
                raise SampleError("decode", "frame size changes within the video", detail)
            time = None if frame.pts is None else self._seconds(frame.pts)
            if previous is not None and (time is None or time <= previous.time):
                time = previous.time + previous.duration
            self._check_seconds(time or Fraction(0))
            picture = functools.partial(to_rgb, frame, self._reformatter)
            previous = Shot(
                time=time or Fraction(0), duration=self._duration(frame), picture=picture
            )
            yield previous

    def _seconds(self, pts: int) -> Fraction:
        return (pts - self._origin) * self._stream.tick

    def _duration(self, timed: Any) -> Fraction:
        """Of a packet or a frame."""
        if timed.duration:
            return Fraction(timed.duration) * self._stream.tick
        return 1 / self.rate if self.rate else _FRAME_SECONDS

    def _check_seconds(self, seconds: Fraction) -> None:
        if seconds > self._max_seconds:
            raise SampleError("decode", "longer than limits.max_seconds", f"{float(seconds):g} s")

    def _check_pixels(self, size: Size) -> None:
        if size[0] * size[1] > self._max_pixels:
            raise SampleError(
                "decode", "more pixels than limits.max_pixels", f"{size[0]}x{size[1]}"
            )


def _square(stored: Size, aspect: Fraction) -> Size:
    """The size with square pixels instead of ones of ``aspect`` (width / height), enlarging one
    side.
    """
    height, width = stored
    return (height, round(width * aspect)) if aspect >= 1 else (round(height / aspect), width)


def _cost(context: av.VideoCodecContext) -> int:
    """Bytes that decoding frame after frame takes."""
    bits = context.format.padded_bits_per_pixel if context.format else _UNKNOWN_BITS
    frame = context.width * context.height * bits // 8
    references = _REFERENCES.get(context.name, _FEWER_REFERENCES)
    cost: int = frame * references + context.width * context.height * _RGB_BYTES
    return cost
