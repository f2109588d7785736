"""Decoding in tests: few words for the usual, and the faults as values."""

from __future__ import annotations

from typing import Any

import pytest

from energon_prep.decode.video import decode_video
from energon_prep.errors import SampleError
from energon_prep.formats import HEAD_BYTES, kind_of
from energon_prep.recipes.model import Filters, Limits, Resize
from energon_prep.recipes.model import Frames as FramesSection
from energon_prep.samples import Frames, Media
from tests.media_files import numbers_of


def clips(
    data: bytes | Media,
    mode: str = "head",
    num: int = 1000,
    *,
    step: int | None = 1,
    fps: float | None = None,
    max_clips: int = 1000,
    metadata: dict[str, Any] | None = None,
    multiple: int = 1,
    filters: dict[str, Any] | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    resize: dict[str, Any] | None = None,
) -> list[Frames]:
    """The clips of a video at one resolution; as it is, unless ``resize`` says otherwise."""
    section = FramesSection.model_validate(
        {"mode": mode, "num_frames": num, "fps": fps, "max_clips": max_clips}
    )
    media = data if isinstance(data, Media) else Media.of(data)
    decoded = decode_video(
        media,
        kind_of(media.head(HEAD_BYTES)),
        resizes={"main": Resize.model_validate({"mode": "none", **(resize or {})})},
        multiple=multiple,
        frames=section,
        frame_step=step,
        filters=Filters.model_validate(filters or {}),
        limits=limits,
        metadata=metadata or {},
    )
    return [clip["main"] for clip in decoded]


def numbers(data: bytes, *args: Any, **options: Any) -> list[list[int]]:
    """What the frames of the clips say."""
    return [numbers_of(clip.pixels) for clip in clips(data, *args, **options)]


def rejected(data: bytes, *args: Any, **options: Any) -> SampleError:
    with pytest.raises(SampleError) as caught:
        clips(data, *args, **options)
    return caught.value
