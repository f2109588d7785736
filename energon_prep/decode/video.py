"""A video's bytes -> the clips that the recipe makes of it, at each resolution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from energon_prep.decode.animation import Animation
from energon_prep.decode.filters import (
    SINGLE_FRAME,
    check_footage,
    check_size,
    long_enough,
    notes_of,
)
from energon_prep.decode.footage import DamagedError, Footage, Picture, true_rate
from energon_prep.decode.frame_select import Shot, cut_clips, fit_to_rule
from energon_prep.decode.geometry import TRANSPOSE, Cut, across, plan_cut, plan_geometry
from energon_prep.decode.image import Take, take_nothing
from energon_prep.decode.pixels import Pixels, resize_pixels
from energon_prep.decode.selection import WHOLE, Selection, select
from energon_prep.decode.video_file import VideoFile
from energon_prep.errors import SampleError
from energon_prep.formats import Kind, is_video
from energon_prep.samples import Frames, Media

if TYPE_CHECKING:
    from energon_prep.recipes.model import Filters, Limits, Resize
    from energon_prep.recipes.model import Frames as FramesSection


@dataclass(frozen=True, kw_only=True)
class _View:
    """How frames come to one resolution."""

    cut: Cut
    resample: str  #: as ``Resize.filter`` has it


@dataclass(frozen=True, kw_only=True)
class _Still:
    """A frame at its final sizes."""

    time: Fraction
    duration: Fraction
    pixels: Mapping[str, Pixels]  #: by resolution: [H, W, 3]


def decode_video(
    media: Media,
    kind: Kind,
    *,
    resizes: Mapping[str, Resize],
    multiple: int,
    frames: FramesSection,
    frame_step: int | None,
    filters: Filters,
    limits: Limits,
    metadata: Mapping[str, Any],
    take: Take = take_nothing,
) -> list[dict[str, Frames]]:
    """Decode a video, or an animated image, to its clips of pixels [T, H, W, 3] uint8, by
    resolution.

    Frames are chosen by their times, as ``frames.mode`` says; T is 1 + n * ``frame_step``, never
    padded. All frames of a clip have one geometry, planned from the size that the video is shown
    at: upright, with square pixels.

    Raises SampleError for what cannot be decoded, exceeds ``limits`` or is filtered out, for a clip
    that ``metadata`` does not give, and for a video that is damaged before the last frame that is
    wanted.
    """
    step = _step(frames.mode, frame_step)
    held = _bytes_of_clip(frames.num_frames, resizes)
    taken: list[Fraction] = []  # times of the frames in hand
    try:
        with _open(media, kind, limits, lambda num_bytes: take(num_bytes + held)) as footage:
            for resize in resizes.values():
                check_size(footage.shown, resize, filters)
            check_footage(footage, filters)
            views = _plan_views(footage, resizes, multiple)
            decoded: list[dict[str, Frames]] = []
            for selection in select(footage, frames, step=step, filters=filters, metadata=metadata):
                stills = _stills(selection.shots, footage, views, taken)
                clips = cut_clips(stills, length=selection.length, count=selection.count, step=step)
                footage.check()
                if frames.mode != "images":
                    clips = long_enough(clips, filters)
                decoded += [_frames(clip, footage, views, selection) for clip in clips]
    except DamagedError as error:
        wanted = "" if frames.mode in WHOLE else f" of {fit_to_rule(frames.num_frames, step)}"
        raise SampleError(
            "decode", "damaged video", f"decoded {len(taken)}{wanted} frames: {error}"
        ) from error
    return decoded


def _step(mode: str, frame_step: int | None) -> int:
    if frame_step is None and mode != "images":
        raise SampleError(
            "decode", "this recipe's encoder takes images, not clips (--set frames.mode=images)"
        )
    return frame_step or 1


def _bytes_of_clip(num_frames: int, resizes: Mapping[str, Resize]) -> int:
    """About, of its frames at their final sizes, one by one and as a clip."""
    pixels = sum(resize.resolution[0] * resize.resolution[1] for resize in resizes.values())
    return 2 * 3 * num_frames * pixels


def _open(media: Media, kind: Kind, limits: Limits, take: Take) -> VideoFile | Animation:
    opened = VideoFile if is_video(kind) else Animation
    return opened(
        media, kind, max_pixels=limits.max_pixels, max_seconds=limits.max_seconds, take=take
    )


def _plan_views(footage: Footage, resizes: Mapping[str, Resize], multiple: int) -> dict[str, _View]:
    # the stored size, but with square pixels
    height, width = across(footage.shown, footage.orientation)
    scale = (footage.stored[0] / height, footage.stored[1] / width)
    views = {}
    for name, resize in resizes.items():
        geometry = plan_geometry(
            footage.shown,
            mode=resize.mode,
            resolution=resize.resolution,
            multiple=multiple,
            max_aspect=resize.max_aspect,
        )
        cut = plan_cut(
            geometry,
            footage.shown,
            orientation=footage.orientation,
            decoded=footage.stored,
            scale=scale,
        )
        views[name] = _View(cut=cut, resample=resize.filter)
    return views


def _stills(
    shots: Iterator[Shot[Picture]],
    footage: Footage,
    views: Mapping[str, _View],
    taken: list[Fraction],
) -> Iterator[_Still]:
    """Bring each shot to its final sizes at once, so that no more than that is held in memory."""
    last: tuple[Shot[Picture], _Still] | None = None
    for shot in shots:
        if last is None or last[0] is not shot:
            # a frame that is shown for long is chosen several times
            picture = shot.picture()
            pixels = {name: _resized(picture, footage, view) for name, view in views.items()}
            last = shot, _Still(time=shot.time, duration=shot.duration, pixels=pixels)
        taken.append(shot.time)
        yield last[1]


def _resized(picture: Pixels, footage: Footage, view: _View) -> Pixels:
    """[H, W, 3], upright, of a picture as it is stored."""
    kept = resize_pixels(picture, view.cut, resample=view.resample)
    if footage.orientation in TRANSPOSE:
        return np.asarray(Image.fromarray(kept).transpose(TRANSPOSE[footage.orientation]))
    return kept


def _own_rate(clip: Sequence[_Still], declared: Fraction | None) -> Fraction:
    """Frames per second of a clip of the footage's own frames.

    Matroska declares the rate that its writer had in mind, MP4 the average of the whole file.
    """
    if declared is None:  # then durations are what the file tells
        return len(clip) / sum((still.duration for still in clip), Fraction(0))
    return true_rate(declared, len(clip), clip[-1].time - clip[0].time)


def _frames(
    clip: Sequence[_Still], footage: Footage, views: Mapping[str, _View], selection: Selection
) -> dict[str, Frames]:
    single = (SINGLE_FRAME,) if len(clip) == 1 < selection.length else ()
    rate = selection.rate or _own_rate(clip, footage.rate)
    return {
        name: Frames(
            pixels=np.stack([still.pixels[name] for still in clip]),
            original_height=footage.shown[0],
            original_width=footage.shown[1],
            crop=view.cut.crop,
            framerate=float(rate),
            start=float(clip[0].time),
            span=selection.span,
            notes=notes_of(view.cut.crop, footage.shown, across(view.cut.size, footage.orientation))
            + single,
        )
        for name, view in views.items()
    }
