"""A raw sample's bytes -> its clips at each of the recipe's resolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from energon_prep.decode.animation import is_animated
from energon_prep.decode.image import Take, decode_image, take_nothing
from energon_prep.decode.video import decode_video
from energon_prep.errors import SampleError
from energon_prep.formats import FORMATS, HEAD_BYTES, Kind, is_video, kind_of, kind_of_suffix
from energon_prep.samples import Frames, RawSample

if TYPE_CHECKING:
    from energon_prep.recipes.model import Filters, Limits, Resize
    from energon_prep.recipes.model import Frames as FramesSection


def resolutions(resize: Resize) -> dict[str, Resize]:
    """The recipe's resolutions by name ("512", "720x1280"), the main one first."""
    sizes = (resize.resolution, *resize.more_resolutions)
    return {_name(size): resize.model_copy(update={"resolution": size}) for size in sizes}


def decode_media(
    raw: RawSample,
    take: Take = take_nothing,
    *,
    resizes: Mapping[str, Resize],
    multiple: int,
    frames: FramesSection,
    frame_step: int | None,
    filters: Filters,
    limits: Limits,
) -> Sequence[Mapping[str, Frames]]:
    """Decode an image (one clip of one frame) or a video (one clip or several), as the bytes
    themselves say.

    An animated GIF, WebP or AVIF is a video if clips are wanted (``frames.num_frames`` > 1 and an
    encoder that takes clips), else an image, its first frame.

    Heights and widths become multiples of ``multiple``. ``frame_step``: a clip has 1 + n * step
    frames; None for encoders that take images only. Raises SampleError for what cannot be decoded
    or exceeds ``limits``. ``take`` is asked for the memory, once a header was read.
    """
    head = raw.media.head(HEAD_BYTES)
    kind = kind_of(head)
    moves = is_video(kind)
    if _may_move(kind) and frames.num_frames > 1 and frame_step is not None:
        moves = is_animated(raw.media.read(), max_pixels=limits.max_pixels, take=take)
    if moves:
        return decode_video(
            raw.media,
            kind,
            resizes=resizes,
            multiple=multiple,
            frames=frames,
            frame_step=frame_step,
            filters=filters,
            limits=limits,
            metadata=raw.metadata,
            take=take,
        )
    if kind == "unknown" and head:
        _refuse_named_as_video(raw.media_name, head)
    data = raw.media.read()
    return [
        {
            name: decode_image(
                data,
                resize=resize,
                multiple=multiple,
                max_pixels=limits.max_pixels,
                filters=filters,
                take=take,
            )
            for name, resize in resizes.items()
        }
    ]


def _may_move(kind: Kind) -> bool:
    return kind in FORMATS and FORMATS[kind].animated


def _refuse_named_as_video(name: str, head: bytes) -> None:
    """Raise SampleError for what only its name calls a video: Pillow would call it no image."""
    claimed = kind_of_suffix(PurePath(name).suffix)
    if is_video(claimed):
        raise SampleError(
            "decode",
            f"not {FORMATS[claimed].title}, nor another video that is read",
            f"starts with {head[:24]!r}",
        )


def _name(size: tuple[int, int]) -> str:
    height, width = size
    return str(height) if height == width else f"{height}x{width}"
