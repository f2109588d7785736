"""The records on the way of a sample: PendingSample -> RawSample -> DecodedSample -> EncodedSample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True, kw_only=True)
class RawSample:
    """One image or video as it came, with its caption and metadata."""

    key: str  #: the source's own name for the sample, as found
    source: str  #: the file it came from, relative to the source: "cats/0001.jpg", "00042.tar"
    media_name: str  #: file name with suffix, which tells what the bytes claim to be
    media: bytes
    caption: str
    metadata: dict[str, Any] = field(default_factory=dict)  #: JSON-able; whatever else the source knew


@dataclass(frozen=True, kw_only=True)
class PendingSample:
    """A sample whose place is known and whose bytes are not read yet.

    ``load`` does the reading, in a decode worker, and raises SampleError where the sample is at fault.
    """

    key: str
    source: str
    load: Callable[[], RawSample]


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Decoded, oriented, resized and cropped pixels."""

    pixels: np.ndarray[Any, np.dtype[np.uint8]]  #: [T, H, W, 3] uint8, sRGB; T == 1 for an image
    original_height: int  #: pixels, after the file's own orientation was applied
    original_width: int
    crop: tuple[int, int, int, int]  #: (top, left, bottom, right) of what was kept, in original pixels
    framerate: float | None = None  #: frames per second of ``pixels``; None for an image


@dataclass(frozen=True, kw_only=True)
class SampleInfo:
    """Everything known about a sample but its pixels; sizes in pixels."""

    serial: int  #: place in the whole dataset, from 0; makes the output key
    key: str  #: the source's own name
    source: str
    caption: str
    metadata: dict[str, Any]
    num_frames: int
    height: int  #: of what is encoded
    width: int
    original_height: int  #: after the file's own orientation was applied
    original_width: int
    crop: tuple[int, int, int, int]  #: (top, left, bottom, right) of what was kept, in original pixels
    framerate: float | None  #: frames per second; None for an image


@dataclass(frozen=True, kw_only=True)
class DecodedSample:
    """A sample without its file, and with its pixels."""

    info: SampleInfo
    pixels: np.ndarray[Any, np.dtype[np.uint8]]  #: [T, H, W, 3] uint8, sRGB


@dataclass(frozen=True, kw_only=True)
class TextEmbedding:
    """What one text encoder made of one caption."""

    hidden: torch.Tensor  #: [S, D], trimmed to the real tokens unless the recipe pads
    pooled: torch.Tensor | None  #: [D'], for encoders that have one (CLIP)
    num_tokens: int  #: real tokens in ``hidden``, special ones included
    truncated: bool  #: the caption had more tokens than the recipe keeps


@dataclass(frozen=True, kw_only=True)
class EncodedSample:
    """Latent and embeddings, ready for a target to lay out."""

    info: SampleInfo
    latent: torch.Tensor  #: [C, T', H', W'], normalised as the recipe says
    texts: dict[str, TextEmbedding]  #: by the recipe's text encoder names


@dataclass(frozen=True, kw_only=True)
class Reject:
    """An input sample that could not be encoded."""

    serial: int
    key: str
    source: str
    stage: str  #: read, caption, decode, filter, visual, text or target
    reason: str
    detail: str = ""
