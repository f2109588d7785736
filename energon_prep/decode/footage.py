"""What a video or an animated image offers to the selection of frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, TypeAlias

from energon_prep.decode.frame_select import Shot
from energon_prep.decode.geometry import Size
from energon_prep.decode.pixels import Pixels

#: Gives the stored pixels, opaque RGB [H, W, 3]; called for the frames that are wanted only.
Picture: TypeAlias = Callable[[], Pixels]


class DamagedError(Exception):
    """Frames are missing or broken; the message says where. Becomes a SampleError that counts the
    good ones.
    """


_MOST_FRAMES_OFF = Fraction(1, 2)


def true_rate(declared: Fraction, num_frames: int, span: Fraction) -> Fraction:
    """Frames per second of frames of which the last begins ``span`` seconds after the first.

    As declared, which is exact, unless that makes another number of frames of them.
    """
    agrees = abs(span * declared - (num_frames - 1)) <= _MOST_FRAMES_OFF
    return declared if agrees or not span else (num_frames - 1) / span


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """When all frames are shown, in seconds since the first."""

    times: Sequence[Fraction]  #: growing
    end: Fraction  #: of the last frame
    keyframes: Sequence[Fraction]  #: where decoding can begin; the first is 0

    @property
    def rate(self) -> Fraction:
        """Frames per second, on average."""
        return len(self.times) / self.end


class Footage(Protocol):
    """The frames of one file, in the order they are shown."""

    @property
    def stored(self) -> Size:
        """(height, width) of the pictures."""
        ...

    @property
    def shown(self) -> Size:
        """(height, width) as displayed: upright, with square pixels."""
        ...

    @property
    def orientation(self) -> int:
        """As EXIF has it, 1 to 8."""
        ...

    @property
    def rate(self) -> Fraction | None:
        """Average frames per second, if the file says so."""
        ...

    def average_rate(self) -> Fraction:
        """Frames per second over the whole file, measured where ``rate`` may be wrong. Raises
        DamagedError.
        """
        ...

    @property
    def duration(self) -> Fraction | None:
        """Seconds, if the file says so."""
        ...

    @property
    def slack(self) -> Fraction:
        """Seconds that a timestamp may be late, because it is rounded."""
        ...

    def shots(self, start: Fraction = Fraction(0)) -> Iterator[Shot[Picture]]:
        """Decode from ``start`` or some time before it. Each call takes the file for itself.

        Raises DamagedError where a frame is broken, and at the end if there should be more.
        """
        ...

    def timeline(self) -> Timeline:
        """All frames' times, decoding as little as possible. Raises DamagedError."""
        ...

    def check(self) -> None:
        """Raise DamagedError if parts were lost on the way to the shots so far."""
        ...
