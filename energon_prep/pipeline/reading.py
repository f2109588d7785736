"""Plan -> read -> decode, in a pool, ahead of the models."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

from energon_prep.errors import SampleError
from energon_prep.pipeline.carrying import carried_caption, carried_media, missing_parts
from energon_prep.pipeline.stations import Stations
from energon_prep.plan.shards import ShardPlan
from energon_prep.samples import (
    CAPTION_LEFT_OUT,
    MEDIA_LEFT_OUT,
    DecodedSample,
    Frames,
    PendingSample,
    RawSample,
    Reject,
    SampleInfo,
    Size,
)
from energon_prep.sources.base import Source

#: What became of one raw sample: its clips, of which an image has one.
Clips = list[DecodedSample]

_AHEAD_BYTES = 2**30


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """How many samples are decoded in advance: enough for the models to find work after a pause, and no more."""

    least: int  #: so many in any case, to keep the pool busy
    most: int  #: so many where they take no more than a gigabyte
    #: Decode so many, then none until they are used: for models that run on the processors that decode. Their threads
    #: wait for each other all the time, and when one of them has to share its processor, all are slow.
    in_turn: bool = False

    def after(self, outcome: Clips | Reject) -> int:
        """How many, if all are as large as this one."""
        if isinstance(outcome, Reject):
            return self.least
        size = sum(pixels.nbytes for sample in outcome for pixels in sample.pixels.values())
        return max(self.least, min(self.most, _AHEAD_BYTES // max(1, size)))


def number_samples(shard: ShardPlan, source: Source) -> Iterator[tuple[int, PendingSample]]:
    """The shard's samples with their serial numbers."""
    samples = itertools.chain.from_iterable(source.read(piece) for piece in shard.pieces)
    return zip(range(shard.first_serial, shard.first_serial + shard.num_samples), samples, strict=True)


def decode_ahead(
    pending: Iterable[tuple[int, PendingSample]],
    decode: Callable[[int, PendingSample], Clips | Reject],
    *,
    pool: Executor,
    ahead: Ahead,
) -> Iterator[Clips | Reject]:
    """Decode in the pool, so far ``ahead``; results come in the samples' own order."""
    if ahead.in_turn:
        yield from _decode_in_turn(pending, decode, pool=pool, ahead=ahead)
        return
    futures: deque[Future[Clips | Reject]] = deque()
    most = ahead.least
    try:
        for serial, sample in pending:
            futures.append(pool.submit(decode, serial, sample))
            while len(futures) > most:
                outcome = futures.popleft().result()
                most = ahead.after(outcome)
                yield outcome
        while futures:
            yield futures.popleft().result()
    finally:
        for future in futures:
            future.cancel()


def _decode_in_turn(
    pending: Iterable[tuple[int, PendingSample]],
    decode: Callable[[int, PendingSample], Clips | Reject],
    *,
    pool: Executor,
    ahead: Ahead,
) -> Iterator[Clips | Reject]:
    samples, num = iter(pending), ahead.least
    while group := list(itertools.islice(samples, num)):
        outcomes = list(pool.map(decode, *zip(*group, strict=True)))
        num = ahead.after(outcomes[-1])
        yield from outcomes


def decode_one(serial: int, sample: PendingSample, stations: Stations) -> Clips | Reject:
    """Read and decode one sample, in the pool."""
    try:
        with stations.profile.station("read"):
            raw = sample.load()
        with stations.profile.station("decode"):
            clips = stations.decode(raw)
        carried = carried_media(raw, stations.carry)
        pictures = _pair(raw, clips)
    except SampleError as error:
        return to_reject(error, serial=serial, key=sample.key, source=sample.source)
    several = len(pictures) > 1
    return [
        _decoded(
            serial,
            raw,
            caption,
            clips[picture],
            picture,
            number if several else None,
            {**carried, **carried_caption(caption, stations.carry)},
            missing_parts(raw, stations.carry),
        )
        for number, (picture, caption) in enumerate(pictures)
    ]


def _pair(raw: RawSample, clips: Sequence[Mapping[str, Frames]]) -> list[tuple[int, str]]:
    """The samples that a raw sample becomes, as numbers of ``clips`` and captions: every clip with every caption.

    Where the metadata name several clips, and as many captions, each clip has its own. Raises
    SampleError if those were left out.
    """
    named = len(clips) > 1 and all(next(iter(clip.values())).span is not None for clip in clips)
    if named and len(raw.captions) == len(clips):
        return list(enumerate(raw.captions))
    if named and len(raw.captions) + raw.num_captions_left_out == len(clips):
        raise SampleError("caption", "each of several clips has its own caption: give --captions all", f"{len(clips)}")
    return [(picture, caption) for picture in range(len(clips)) for caption in raw.captions]


def to_reject(error: SampleError, *, serial: int, key: str, source: str) -> Reject:
    return Reject(serial=serial, key=key, source=source, stage=error.stage, reason=error.reason, detail=error.detail)


def _decoded(
    serial: int,
    raw: RawSample,
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
    return (CAPTION_LEFT_OUT,) * raw.num_captions_left_out + (MEDIA_LEFT_OUT,) * raw.num_media_left_out
