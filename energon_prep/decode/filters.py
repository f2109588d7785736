"""Samples that the recipe does not want, and what is said of those it takes."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar

from energon_prep.decode.footage import Footage
from energon_prep.decode.geometry import Box, Size
from energon_prep.errors import SampleError

if TYPE_CHECKING:
    from energon_prep.recipes.model import Filters, Resize

T = TypeVar("T")

#: What ``notes_of`` says; equal for all samples, so that they can be counted.
ENLARGED = "enlarged"
HALF_CUT = "less than half of the picture kept"
SINGLE_FRAME = "a single frame of a video"

_ENLARGED_BY = 1.01  # less is rounding


def check_size(size: Size, resize: Resize, filters: Filters) -> None:
    """Raise SampleError if a picture of ``size``, upright or not, is filtered out."""
    if min(size) < resize.min_size:
        raise SampleError(
            "filter",
            "shorter side below resize.min_size",
            f"{size[0]}x{size[1]}, needs {resize.min_size}",
        )
    if filters.max_aspect is not None and max(size) > filters.max_aspect * min(size):
        detail = f"{size[0]}x{size[1]}, the limit is {filters.max_aspect:g}"
        raise SampleError("filter", "sides further apart than filters.max_aspect", detail)


def check_footage(footage: Footage, filters: Filters) -> None:
    """Raise SampleError if a whole video is filtered out, by its size apart."""
    if filters.min_fps is not None:
        rate = footage.average_rate()
        if rate < Fraction(str(filters.min_fps)):
            raise SampleError(
                "filter", "fewer frames a second than filters.min_fps", f"{float(rate):g}"
            )


def check_seconds(seconds: Fraction, filters: Filters) -> None:
    """Raise SampleError if a video, or the clip of it that the metadata name, is too short."""
    if filters.min_seconds is not None and seconds < Fraction(str(filters.min_seconds)):
        raise SampleError("filter", "shorter than filters.min_seconds", f"{float(seconds):g} s")


def long_enough(clips: list[list[T]], filters: Filters) -> list[list[T]]:
    """The clips, by their frames, of those cut from one stretch of video. Raises SampleError if
    none is left.
    """
    kept = [clip for clip in clips if len(clip) >= filters.min_frames]
    if clips and not kept:
        longest = max(len(clip) for clip in clips)
        raise SampleError(
            "filter",
            "fewer frames than filters.min_frames",
            f"{longest}, needs {filters.min_frames}",
        )
    return kept


def notes_of(crop: Box, original: Size, final: Size) -> tuple[str, ...]:
    """What happened to a picture of which ``crop`` was kept and brought to ``final``."""
    height, width = crop[2] - crop[0], crop[3] - crop[1]
    enlarged = max(final[0] / height, final[1] / width) > _ENLARGED_BY
    cut = 2 * height * width < original[0] * original[1]
    return (ENLARGED,) * enlarged + (HALF_CUT,) * cut
