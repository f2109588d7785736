"""Which samples are trained on, by their JSON; the others are skipped, not failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from megatron.energon import SkipSample

from cookers import LatentSample
from task_encoders.errors import DataError

# In the order in which they are looked for: our own names first, then those of the trainers'
# scripts.
_SCORE = ("aesthetic_score", "aesthetic", "AESTHETIC_SCORE", "aesthetics_score")
_SIZES = (
    ("original_height", "original_width"),
    ("height", "width"),
    ("image_height", "image_width"),
    ("processed_height", "processed_width"),
)
_FRAMES = ("num_frames", "processed_frames")
_RATE = ("framerate", "fps")


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What a sample must be like to be trained on. None: not looked at."""

    min_aesthetic_score: float | None = None
    #: shorter side of the original, pixels (of what was encoded, if that is all there is)
    min_size: int | None = None
    max_frames: int | None = None  #: of the clip that was encoded; an image has one
    max_seconds: float | None = None  #: of that clip; an image has none
    #: called with the JSON part; a sample for which it returns False is skipped
    keep: Callable[[dict[str, Any]], bool] | None = None


ALL = Filters()


def skip_unwanted(sample: LatentSample, filters: Filters) -> None:
    """Raise SkipSample for a sample that ``filters`` exclude, ValueError if its JSON does not
    tell, DataError for a ``keep`` that answers nothing.
    """
    is_image = sample.latent.shape[1] == 1
    if (
        filters.min_aesthetic_score is not None
        and _value(sample, "score", _SCORE) < filters.min_aesthetic_score
    ):
        raise SkipSample(f"below min_aesthetic_score={filters.min_aesthetic_score}")
    if filters.min_size is not None and _shorter_side(sample) < filters.min_size:
        raise SkipSample(f"below min_size={filters.min_size}")
    if filters.keep is not None and not _kept(sample, filters.keep):
        raise SkipSample("for which keep returns False")
    if is_image:
        return
    if (
        filters.max_frames is not None
        and _value(sample, "number of frames", _FRAMES) > filters.max_frames
    ):
        raise SkipSample(f"above max_frames={filters.max_frames}")
    if filters.max_seconds is not None:
        seconds = _value(sample, "number of frames", _FRAMES) / _value(sample, "frame rate", _RATE)
        if seconds > filters.max_seconds:
            raise SkipSample(f"above max_seconds={filters.max_seconds}")


def _kept(sample: LatentSample, keep: Callable[[dict[str, Any]], bool]) -> bool:
    try:
        answer = keep(sample.metadata)
    except Exception as error:
        raise ValueError(
            f"sample {sample.__key__}: keep fails on its JSON ({type(error).__name__}: {error})"
        ) from error
    if answer is None:
        raise DataError(
            f"sample {sample.__key__}: keep returns None; let it return True or False for "
            "every JSON"
        )
    return bool(answer)


def _shorter_side(sample: LatentSample) -> float:
    for height, width in _SIZES:
        if height in sample.metadata and width in sample.metadata:
            return min(_value(sample, "height", (height,)), _value(sample, "width", (width,)))
    raise _untold(sample, "size", [name for names in _SIZES for name in names])


def _value(sample: LatentSample, what: str, names: tuple[str, ...]) -> float:
    """The first of the ``names`` in the JSON or in the source's own metadata, which is under
    ``meta``.
    """
    meta = sample.metadata.get("meta")
    for place in (sample.metadata, meta if isinstance(meta, Mapping) else {}):
        for name in names:
            value: Any = place.get(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return value
    raise _untold(sample, what, list(names))


def _untold(sample: LatentSample, what: str, names: list[str]) -> ValueError:
    return ValueError(
        f"sample {sample.__key__}: its JSON tells no {what} ({', '.join(names)}); leave that "
        "filter out for such data"
    )
