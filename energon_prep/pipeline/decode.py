"""Windows of pending samples -> decoded ones, in a pool, ahead of the models."""

from __future__ import annotations

import itertools
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass

from energon_prep.errors import SampleError
from energon_prep.pipeline.carrying import carried_caption, carried_media, missing_parts
from energon_prep.pipeline.stations import Stations
from energon_prep.pipeline.window import Clips, DecodedWindow, PendingWindow
from energon_prep.samples import (
    CAPTION_LEFT_OUT,
    MEDIA_LEFT_OUT,
    TOUCHED,
    UNREAD,
    Content,
    DecodedSample,
    Frames,
    PendingSample,
    RawSample,
    Reject,
    SampleInfo,
    Size,
)

_AHEAD_BYTES = 2**30

Decode = Callable[[int, PendingSample], Clips | Reject]


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """How many samples are decoded in advance: enough for the models to find work after a pause,
    and no more.
    """

    least: int  #: so many in any case, to keep the pool busy
    most: int  #: so many where they take no more than a gigabyte
    num_bytes: int = sys.maxsize  #: that they may take in any case, unless one takes more
    #: Decode so many, then none until they are used: for models that run on the processors that
    #: decode. Their threads wait for each other all the time, and when one of them has to share its
    #: processor, all are slow.
    in_turn: bool = False

    def after(self, outcome: Clips | Reject) -> int:
        """How many, if all are as large as this one."""
        if isinstance(outcome, Reject):
            return self.least
        size = sum(pixels.nbytes for sample in outcome for pixels in sample.pixels.values())
        size = max(1, size)
        num = max(self.least, min(self.most, _AHEAD_BYTES // size))
        return max(1, min(num, self.num_bytes // size))


def decode(
    windows: Iterable[PendingWindow], decode_sample: Decode, *, pool: Executor, ahead: Ahead
) -> Iterator[DecodedWindow]:
    """Decode in the pool, so far ``ahead``, beyond the end of a window; a window's outcomes come in
    its own order.
    """
    decoder = _Decoder(windows, decode_sample, pool=pool, ahead=ahead)
    try:
        while (window := decoder.next_window()) is not None:
            outcomes = decoder.outcomes(window.num_samples)
            yield DecodedWindow(shard=window.shard, is_last=window.is_last, outcomes=outcomes)
    finally:
        decoder.cancel()


class _Decoder:
    """Hands samples to the pool in their order, and takes what became of them in the same order."""

    def __init__(
        self,
        windows: Iterable[PendingWindow],
        decode_sample: Decode,
        *,
        pool: Executor,
        ahead: Ahead,
    ) -> None:
        self._decode = decode_sample
        self._pool = pool
        self._ahead = ahead
        #: windows of which samples were handed out, and none was taken
        self._begun: deque[PendingWindow] = deque()
        self._pending = self._samples_of(windows)
        self._futures: deque[Future[Clips | Reject]] = deque()
        # The first one tells how large they are.
        self._most = ahead.least if ahead.in_turn else 0

    def next_window(self) -> PendingWindow | None:
        """The next one of which a sample is being decoded; None: there are no more."""
        self._fill()
        return self._begun.popleft() if self._begun else None

    def outcomes(self, num: int) -> Iterator[Clips | Reject]:
        for _ in range(num):
            self._fill()
            outcome = self._futures.popleft().result()
            if not self._ahead.in_turn:
                self._most = self._ahead.after(outcome)
            yield outcome

    def cancel(self) -> None:
        for future in self._futures:
            future.cancel()

    def _samples_of(self, windows: Iterable[PendingWindow]) -> Iterator[tuple[int, PendingSample]]:
        for window in windows:
            self._begun.append(window)
            yield from window.samples

    def _fill(self) -> None:
        """Hand out samples, as many as may be ahead; in turn, all of a group, and wait for them."""
        if self._ahead.in_turn:
            if not self._futures:
                self._submit(self._most)
                wait(self._futures)
                if self._futures:
                    self._most = self._ahead.after(self._futures[-1].result())
            return
        self._submit(self._most + 1 - len(self._futures))

    def _submit(self, num: int) -> None:
        for serial, sample in itertools.islice(self._pending, max(num, 0)):
            self._futures.append(self._pool.submit(self._decode, serial, sample))


def decode_one(serial: int, sample: PendingSample, stations: Stations) -> Clips | Reject:
    """Read and decode one sample, in the pool."""
    content = UNREAD
    try:
        with stations.profile.station("read"):
            content = UNREAD._replace(state=sample.state())
            raw = sample.load()
            content = content._replace(digest=raw.digest())
        with (
            stations.notes.decoding(sample),
            stations.profile.station("decode"),
            stations.budget.claim() as claim,
        ):
            clips = stations.decode(raw, claim.take)
        carried = carried_media(raw, stations.carry) if stations.carry else {}
        pictures = _pair(raw, clips)
    except SampleError as error:
        return to_reject(
            error, serial=serial, key=sample.key, source=sample.source, content=content
        )
    several = len(pictures) > 1
    return [
        _decoded(
            serial,
            raw,
            content,
            caption,
            clips[picture],
            picture,
            number if several else None,
            {**carried, **carried_caption(caption, stations.carry)} if stations.carry else {},
            missing_parts(raw, stations.carry) if stations.carry else (),
        )
        for number, (picture, caption) in enumerate(pictures)
    ]


def _pair(raw: RawSample, clips: Sequence[Mapping[str, Frames]]) -> list[tuple[int, str]]:
    """The samples that a raw sample becomes, as numbers of ``clips`` and captions: every clip with
    every caption.

    Where the metadata name several clips, and as many captions, each clip has its own. Raises
    SampleError if those were left out.
    """
    named = len(clips) > 1 and all(next(iter(clip.values())).span is not None for clip in clips)
    if named and len(raw.captions) == len(clips):
        return list(enumerate(raw.captions))
    if named and len(raw.captions) + raw.num_captions_left_out == len(clips):
        raise SampleError(
            "caption",
            "each of several clips has its own caption: give --captions all",
            f"{len(clips)}",
        )
    return [(picture, caption) for picture in range(len(clips)) for caption in raw.captions]


def to_reject(
    error: SampleError, *, serial: int, key: str, source: str, content: Content
) -> Reject:
    return Reject(
        serial=serial,
        key=key,
        source=source,
        stage=error.stage,
        reason=error.reason,
        detail=error.detail,
        content=content,
    )


def _decoded(
    serial: int,
    raw: RawSample,
    content: Content,
    caption: str,
    clip: Mapping[str, Frames],
    picture: int,
    number: int | None,
    carried: dict[str, bytes],
    missing: Sequence[str],
) -> DecodedSample:
    main = next(iter(clip.values()))
    info = SampleInfo(
        serial=serial,
        key=raw.key,
        source=raw.source,
        caption=caption,
        metadata=raw.metadata,
        clip=number,
        picture=picture,
        content=content,
        num_frames=main.pixels.shape[0],
        framerate=main.framerate,
        start=main.start,
        original_height=main.original_height,
        original_width=main.original_width,
        sizes={
            name: Size(height=view.pixels.shape[1], width=view.pixels.shape[2], crop=view.crop)
            for name, view in clip.items()
        },
        carried=carried,
        notes=(
            *dict.fromkeys(note for view in clip.values() for note in view.notes),
            *(() if number else (*missing, *_notes(raw))),
        ),
    )
    return DecodedSample(info=info, pixels={name: view.pixels for name, view in clip.items()})


def _notes(raw: RawSample) -> tuple[str, ...]:
    return (
        *(CAPTION_LEFT_OUT,) * raw.num_captions_left_out,
        *(MEDIA_LEFT_OUT,) * raw.num_media_left_out,
        *(TOUCHED,) * raw.is_touched,
    )
