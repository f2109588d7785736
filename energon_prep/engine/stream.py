"""The way of a sample through one shard: read -> decode -> batch -> encode -> target -> write.

Decoding runs ahead in a pool; everything else depends on the order of the samples alone, so a shard's bytes are the
same however many decode workers there are.
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import torch

from energon_prep.encoders.base import TextEncoder, VisualEncoder
from energon_prep.engine.batching import by_length, by_shape
from energon_prep.engine.memory import give_back
from energon_prep.engine.plan import ShardPlan
from energon_prep.engine.tally import Tally
from energon_prep.errors import SampleError
from energon_prep.recipes.model import Text
from energon_prep.samples import (
    DecodedSample,
    EncodedSample,
    Frames,
    PendingSample,
    RawSample,
    Reject,
    SampleInfo,
    Size,
    TextEmbedding,
)
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.shards.writer import ShardWriter
from energon_prep.sources.base import Source
from energon_prep.storage import Storage
from energon_prep.targets.base import ContractError, Target
from energon_prep.targets.serialize import serialize

#: What became of one raw sample: its clips, of which an image has one.
Clips = list[DecodedSample]

#: Decodes a raw sample into its clips, each by resolution.
Decode = Callable[[RawSample], Sequence[Mapping[str, Frames]]]


@dataclass(frozen=True, kw_only=True)
class Stations:
    """What a worker needs to encode any shard of a run; built once per worker."""

    source: Source
    decode: Decode
    visual: VisualEncoder
    texts: Sequence[tuple[Text, TextEncoder]]  #: each encoder with its section of the recipe
    target: Target
    window: int  #: samples that are batched together and held in memory
    batch_pixels: int  #: frames * height * width of one visual batch, at most
    seed: int
    carry: Sequence[str] = ()  #: originals to keep: "media", "caption"


def encode_shard(
    shard: ShardPlan, stations: Stations, *, storage: Storage, pool: Executor, ahead: int, tally: Tally
) -> LedgerEntry:
    """Encode one shard and publish it. ``ahead``: samples decoded in advance."""
    pending = number_samples(shard, stations.source)
    decode = functools.partial(_decode_one, decode=stations.decode, carry=stations.carry)
    outcomes = decode_ahead(pending, decode, pool=pool, ahead=ahead)
    with ShardWriter(storage, index=shard.index, num_planned=shard.num_samples) as writer:
        for _ in range(0, shard.num_samples, stations.window):
            window = itertools.islice(outcomes, stations.window)
            for outcome in encode_window(window, stations):
                _write(outcome, stations.target, writer, tally)
            give_back()
        return writer.finish()


def number_samples(shard: ShardPlan, source: Source) -> Iterator[tuple[int, PendingSample]]:
    """The shard's samples with their serial numbers."""
    samples = itertools.chain.from_iterable(source.read(piece) for piece in shard.pieces)
    return zip(range(shard.first_serial, shard.first_serial + shard.num_samples), samples, strict=True)


def decode_ahead(
    pending: Iterable[tuple[int, PendingSample]],
    decode: Callable[[int, PendingSample], Clips | Reject],
    *,
    pool: Executor,
    ahead: int,
) -> Iterator[Clips | Reject]:
    """Decode in the pool, at most ``ahead`` samples in advance; results come in the samples' own order."""
    futures: deque[Future[Clips | Reject]] = deque()
    try:
        for serial, sample in pending:
            futures.append(pool.submit(decode, serial, sample))
            if len(futures) > ahead:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()
    finally:
        for future in futures:
            future.cancel()


def encode_window(outcomes: Iterable[Clips | Reject], stations: Stations) -> Iterator[list[EncodedSample] | Reject]:
    """Encode a window of samples; latents first, while decoding goes on, then the captions of those that made it."""
    order: list[list[SampleInfo] | Reject] = []
    latents = encode_visual(_note_order(outcomes, order), stations)
    captions = [info.caption for item in order if not isinstance(item, Reject) for info in item]
    texts = {text.name: encode_captions(captions, text, encoder) for text, encoder in stations.texts}
    for item in order:
        if isinstance(item, Reject):
            yield item
            continue
        yield [
            EncodedSample(
                info=info,
                latents={name: latents.pop((info.serial, info.clip, name)) for name in info.sizes},
                texts={name: by_caption[info.caption] for name, by_caption in texts.items()},
            )
            for info in item
        ]


def encode_visual(
    samples: Iterable[DecodedSample], stations: Stations
) -> dict[tuple[int, int | None, str], torch.Tensor]:
    """Latents [C, T', H', W'] on the CPU, by serial, clip and resolution."""
    latents: dict[tuple[int, int | None, str], torch.Tensor] = {}
    batches = by_shape(
        ((sample.info, name, pixels) for sample in samples for name, pixels in sample.pixels.items()),
        shape=lambda view: view[2].shape,
        capacity=lambda shape: stations.batch_pixels // (shape[0] * shape[1] * shape[2]),
    )
    for batch in batches:
        pixels = torch.stack([torch.from_numpy(view) for _, _, view in batch])  # [B, T, H, W, 3]
        seeds = [_draw_seed(stations.seed, info) for info, _, _ in batch]
        encoded = stations.visual.encode(pixels, seeds).cpu()
        # Cloned: a latent that is a view would keep the whole batch alive, and be written with all of it.
        for (info, name, _), latent in zip(batch, encoded, strict=True):
            latents[info.serial, info.clip, name] = latent.clone()
    return latents


def encode_captions(captions: Iterable[str], text: Text, encoder: TextEncoder) -> dict[str, TextEmbedding]:
    """Embeddings by caption: equal captions are encoded once, similar lengths together."""
    unique = list(dict.fromkeys(captions))
    token_ids = encoder.tokenize(unique)
    full = text.padding == "max_length" or not text.attention_mask  # the encoder pads such batches to max_tokens
    lengths = [text.max_tokens if full else min(len(ids), text.max_tokens) for ids in token_ids]
    embeddings: dict[str, TextEmbedding] = {}
    for batch in by_length(lengths, budget=text.batch_tokens):
        encoded = encoder.encode([token_ids[i] for i in batch])
        embeddings.update(zip((unique[i] for i in batch), encoded, strict=True))
    return embeddings


def _note_order(outcomes: Iterable[Clips | Reject], order: list[list[SampleInfo] | Reject]) -> Iterator[DecodedSample]:
    """Pass the decoded samples on, noting the order of all outcomes without their pixels."""
    for outcome in outcomes:
        if isinstance(outcome, Reject):
            order.append(outcome)
        else:
            order.append([sample.info for sample in outcome])
            yield from outcome


def _decode_one(serial: int, sample: PendingSample, *, decode: Decode, carry: Sequence[str]) -> Clips | Reject:
    """Read and decode one sample, in the pool."""
    try:
        raw = sample.load()
        clips = decode(raw)
    except SampleError as error:
        return _reject(serial, sample.key, sample.source, error)
    several = len(clips) > 1
    return [
        _decoded(serial, raw, clip, number if several else None, _carried(raw, carry))
        for number, clip in enumerate(clips)
    ]


def _decoded(
    serial: int, raw: RawSample, clip: Mapping[str, Frames], number: int | None, carried: dict[str, bytes]
) -> DecodedSample:
    main = next(iter(clip.values()))
    info = SampleInfo(
        serial=serial,
        key=raw.key,
        source=raw.source,
        caption=raw.caption,
        metadata=raw.metadata,
        clip=number,
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
    )
    return DecodedSample(info=info, pixels={name: view.pixels for name, view in clip.items()})


def _carried(raw: RawSample, carry: Sequence[str]) -> dict[str, bytes]:
    """The originals that are kept, by part name: "jpg", "txt"."""
    kept = {}
    if "media" in carry:
        kept[raw.media_name.rpartition(".")[2].lower() or "media"] = raw.media
    if "caption" in carry:
        kept["txt"] = raw.caption.encode()
    return kept


def _draw_seed(seed: int, info: SampleInfo) -> int:
    """Of a sample's posterior draw: its own, whatever batch it is in."""
    return (seed << 48) + (info.serial << 12) + (info.clip or 0)


def _write(outcome: list[EncodedSample] | Reject, target: Target, writer: ShardWriter, tally: Tally) -> None:
    """Lay the sample's clips out as the target wants them, check them, write them all; or note the reject."""
    if not isinstance(outcome, Reject):
        try:
            members = [(sample.info.clip, _parts(sample, target)) for sample in outcome]
        except SampleError as error:
            info = outcome[0].info
            outcome = _reject(info.serial, info.key, info.source, error)
        else:
            truncated = any(text.truncated for sample in outcome for text in sample.texts.values())
            writer.write(outcome[0].info.serial, members, truncated=truncated)
            tally.add_written(truncated=truncated)
            return
    writer.reject(outcome)
    tally.add_reject(outcome)


def _parts(sample: EncodedSample, target: Target) -> dict[str, bytes]:
    try:
        values = target.build(sample)
        target.check(values)
    except ContractError as error:
        raise SampleError("target", f"not what {target.name} reads", str(error)) from error
    return {**serialize(values), **sample.info.carried}


def _reject(serial: int, key: str, source: str, error: SampleError) -> Reject:
    return Reject(serial=serial, key=key, source=source, stage=error.stage, reason=error.reason, detail=error.detail)
