"""The records on the way of a sample: PendingSample -> RawSample -> DecodedSample ->
EncodedSample.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from energon_prep.errors import PrepError, SampleError

if TYPE_CHECKING:
    import numpy as np
    import torch

#: What may be noted of a written sample; counted in the ledger, in run.json and in reports.
CAPTION_CUT = "caption cut to the recipe's max_tokens"
CAPTION_LEFT_OUT = "caption left out (--captions)"
MEDIA_LEFT_OUT = "further image or video of a row left out"
TOUCHED = "read from files with another time than when they were listed"

#: Why a sample is rejected in a stage that gives no reasons of its own.
KILLED = "the process was killed while this was decoded, twice"


class Content(NamedTuple):
    """By what a sample shows that it has changed since it was read."""

    digest: bytes  #: ``RawSample.digest`` of what was read
    state: bytes = b""  #: what ``PendingSample.state`` gave before


UNREAD = Content(b"unread")
#: Bytes at either end of media in a file that are digested with its size: decoding a video need not
#: read all of it, and containers have their tables of frames at one of the ends.
_END = 2**20


def printable(text: str) -> str:
    """``text`` with what UTF-8 cannot hold, such as a byte of a foreign file name, written as
    ``\\udce9``.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True, kw_only=True)
class Media:
    """The bytes of one image or video: in memory, or where they lie, to be read as far as
    needed.
    """

    size: int  #: bytes
    #: A file of its own for each call, seekable, at its first byte. Opening and reading raise
    #: SampleError or PrepError where the source is at fault.
    open: Callable[[], BinaryIO]
    max_bytes: int  #: that ``read`` may bring into memory
    content: bytes | None = None  #: where all of it is in memory already

    @staticmethod
    def of(content: bytes) -> Media:
        """Bytes that are in memory already."""
        return Media(
            size=len(content),
            open=partial(io.BytesIO, content),
            max_bytes=len(content),
            content=content,
        )

    def head(self, num_bytes: int) -> bytes:
        """The first bytes, fewer if there are no more."""
        with self.open() as file:
            return file.read(num_bytes)

    def read(self) -> bytes:
        """All bytes. Raises SampleError if there are more than ``max_bytes``."""
        if self.size > self.max_bytes:
            detail = f"{self.size} bytes, the limit is {self.max_bytes}"
            raise SampleError("read", "larger than limits.max_bytes", detail)
        with self.open() as file:
            return file.read(self.size)

    def add_to(self, digest: hashlib.blake2b) -> None:
        """Digest all bytes, of a file that is not in memory those at its ends."""
        if self.content is not None:
            digest.update(self.content)
            return
        # What cannot be read here is the decoder's to judge, which may not need it.
        with suppress(SampleError), self.open() as file:
            digest.update(file.read(_END))
            if self.size > _END:
                file.seek(max(_END, self.size - _END))
                digest.update(file.read(_END))


@dataclass(frozen=True, kw_only=True)
class RawSample:
    """One image or video as it came, with its caption and metadata."""

    key: str  #: the source's own name for the sample, as found
    #: the media file, relative to the source: "cats/0001.jpg"; the tar or table that holds the
    #: media
    source: str
    media_name: str  #: file name with suffix, which tells what the bytes claim to be
    media: Media
    captions: tuple[str, ...]  #: one; several if each is to become a sample
    num_captions_left_out: int = 0
    num_media_left_out: int = 0  #: of a row that has several
    #: a file of it has the size that it had when it was listed, and another time
    is_touched: bool = False
    #: JSON-able; whatever else the source knew
    metadata: dict[str, Any] = field(default_factory=dict)
    #: Of the further parts that SourceOptions.carry_parts names, those that it has: "mask.png" ->
    #: content.
    parts: dict[str, bytes] = field(default_factory=dict)

    def digest(self) -> bytes:
        """Of what was read: whether a source still has the same content."""
        digest = hashlib.blake2b(digest_size=16)
        # names, lengths and texts first, so that no two samples give the same bytes
        parts = {name: len(part) for name, part in self.parts.items()}
        fields = [self.key, self.source, self.captions, self.metadata, self.media.size, parts]
        digest.update(json.dumps(fields, default=repr).encode())
        for part in self.parts.values():
            digest.update(part)
        self.media.add_to(digest)
        return digest.digest()

    @property
    def caption(self) -> str:
        return self.captions[0]


@dataclass(frozen=True, kw_only=True)
class PendingSample:
    """A sample whose place is known and whose bytes are not read yet.

    ``load`` does the reading, in a decode worker, and raises SampleError where the sample is at
    fault.
    """

    key: str
    source: str
    load: Callable[[], RawSample]
    #: Size and time, as they are now, of a media file that the plan does not know; "" if there is
    #: none. Costs a look at the file, not its reading.
    state: Callable[[], bytes] = bytes


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Decoded, oriented, resized and cropped pixels."""

    pixels: np.ndarray[Any, np.dtype[np.uint8]]  #: [T, H, W, 3] uint8, sRGB; T == 1 for an image
    original_height: int  #: pixels, after the file's own orientation was applied
    original_width: int
    #: (top, left, bottom, right) of what was kept, in original pixels
    crop: tuple[int, int, int, int]
    framerate: float | None = None  #: frames per second of ``pixels``; None for an image
    start: float | None = None  #: of the first frame in the video, seconds; None for an image
    #: number of the clip among those that the metadata name; None if they name none
    span: int | None = None
    notes: tuple[str, ...] = ()  #: what happened to the picture that may be unwanted: "enlarged"


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of the encoded pixels, and where they lay."""

    height: int
    width: int
    #: (top, left, bottom, right) of what was kept, in original pixels
    crop: tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class SampleInfo:
    """Everything known about a sample but its pixels; sizes in pixels."""

    serial: int  #: place in the whole dataset, from 0; makes the output key
    key: str  #: the source's own name
    source: str
    caption: str
    metadata: dict[str, Any]
    #: number of this sample of those that one raw sample becomes; None if there is one
    clip: int | None
    picture: int = 0  #: number of the decoded clip, which samples of several captions share
    content: Content = UNREAD
    num_frames: int
    framerate: float | None  #: frames per second; None for an image
    start: float | None  #: of the first frame in the video, seconds; None for an image
    original_height: int  #: after the file's own orientation was applied
    original_width: int
    #: of what is encoded, by the recipe's resolutions ("512", "720x1280"), the main one first
    sizes: dict[str, Size]
    carried: dict[str, bytes] = field(default_factory=dict)  #: originals to keep, by part name
    #: What was done to it that the user should know of; CAPTION_LEFT_OUT and MEDIA_LEFT_OUT once
    #: for each.
    notes: tuple[str, ...] = ()

    @property
    def main(self) -> Size:
        return next(iter(self.sizes.values()))


@dataclass(frozen=True, kw_only=True)
class DecodedSample:
    """A sample without its file, and with its pixels."""

    info: SampleInfo
    #: by resolution: [T, H, W, 3] uint8, sRGB
    pixels: dict[str, np.ndarray[Any, np.dtype[np.uint8]]]


@dataclass(frozen=True, kw_only=True)
class TextEmbedding:
    """What one text encoder made of one caption."""

    #: [S, D], trimmed to the real tokens unless the recipe pads; None if it wants none
    hidden: torch.Tensor | None
    pooled: torch.Tensor | None  #: [D'], for encoders that have one (CLIP)
    num_tokens: int  #: real tokens, special ones included; those of ``hidden`` are its first
    truncated: bool  #: the caption had more tokens than the recipe keeps

    @property
    def tokens(self) -> torch.Tensor:
        """``hidden`` [S, D], for a target that cannot do without. Raises PrepError if the recipe
        wants none.
        """
        if self.hidden is None:
            raise PrepError(
                "the target stores embeddings of tokens, and the recipe's text encoder gives "
                "the pooled one alone: set its output to hidden or both"
            )
        return self.hidden


@dataclass(frozen=True, kw_only=True)
class EncodedSample:
    """Latent and embeddings, ready for a target to lay out."""

    info: SampleInfo
    #: By resolution, the main one first: [C, T', H', W'], normalised as the recipe says; of
    #: posterior "moments" [2 C, T', H', W'], the means and then the log-variances.
    latents: dict[str, torch.Tensor]
    moments: bool = False  #: whether ``latents`` are posterior moments
    texts: dict[str, TextEmbedding]  #: by the recipe's text encoder names

    @property
    def latent(self) -> torch.Tensor:
        """Of the main resolution."""
        return next(iter(self.latents.values()))


def sample_metadata(sample: EncodedSample) -> dict[str, Any]:
    """The JSON part, with the same keys in every sample whatever the target.

    Sizes are in pixels, of what was encoded, and of the original after orientation.

    ``crop`` is [top, left, bottom, right] in original pixels; ``text_tokens`` counts real tokens by
    text encoder; ``latent_shape`` is [C, T, H, W], of stored moments that of a draw, by which
    cookers tell them from latents; the source's own metadata is under ``meta``.
    """
    info = sample.info
    channels, *size = sample.latent.shape
    return {
        "key": info.key,
        "source": info.source,
        "caption": info.caption,
        "media": "image" if info.framerate is None else "video",
        "original_height": info.original_height,
        "original_width": info.original_width,
        "height": info.main.height,
        "width": info.main.width,
        "aspect_ratio": round(info.main.width / info.main.height, 6),
        "num_frames": info.num_frames,
        "framerate": info.framerate,
        "clip": info.clip,
        "start": info.start,
        "crop": list(info.main.crop),
        "text_tokens": {name: text.num_tokens for name, text in sample.texts.items()},
        "latent_shape": [channels // 2 if sample.moments else channels, *size],
        "meta": info.metadata,
    }


@dataclass(frozen=True, kw_only=True)
class Reject:
    """An input sample that could not be encoded."""

    serial: int
    key: str
    source: str
    stage: str  #: read, caption, decode, filter, visual, text or target
    reason: str
    detail: str = ""
    content: Content = UNREAD  #: told to the ledger, not to who reads rejects
