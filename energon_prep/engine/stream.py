"""The way of a sample through one shard: read -> decode -> batch -> encode -> target -> write.

Decoding runs ahead in a pool; everything else depends on the order of the samples alone, so a shard's bytes are the
same however many decode workers there are.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    TextEmbedding,
)
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.shards.writer import ShardWriter
from energon_prep.sources.base import Source
from energon_prep.storage import Storage
from energon_prep.targets.base import ContractError, Target
from energon_prep.targets.serialize import serialize


@dataclass(frozen=True, kw_only=True)
class Stations:
    """What a worker needs to encode any shard of a run; built once per worker."""

    source: Source
    decode: Callable[[RawSample], Frames]
    visual: VisualEncoder
    texts: Sequence[tuple[Text, TextEncoder]]  #: each encoder with its section of the recipe
    target: Target
    window: int  #: samples that are batched together and held in memory
    batch_pixels: int  #: frames * height * width of one visual batch, at most
    seed: int


def encode_shard(
    shard: ShardPlan, stations: Stations, *, storage: Storage, pool: Executor, ahead: int, tally: Tally
) -> LedgerEntry:
    """Encode one shard and publish it. ``ahead``: samples decoded in advance."""
    pending = number_samples(shard, stations.source)
    outcomes = decode_ahead(pending, stations.decode, pool=pool, ahead=ahead)
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
    decode: Callable[[RawSample], Frames],
    *,
    pool: Executor,
    ahead: int,
) -> Iterator[DecodedSample | Reject]:
    """Decode in the pool, at most ``ahead`` samples in advance; results come in the samples' own order."""
    futures: deque[Future[DecodedSample | Reject]] = deque()
    try:
        for serial, sample in pending:
            futures.append(pool.submit(_decode_one, serial, sample, decode))
            if len(futures) > ahead:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()
    finally:
        for future in futures:
            future.cancel()


def encode_window(outcomes: Iterable[DecodedSample | Reject], stations: Stations) -> Iterator[EncodedSample | Reject]:
    """Encode a window of samples; latents first, while decoding goes on, then the captions of those that made it."""
    order: list[SampleInfo | Reject] = []
    latents = encode_visual(_note_order(outcomes, order), stations)
    captions = [item.caption for item in order if isinstance(item, SampleInfo)]
    texts = {text.name: encode_captions(captions, text, encoder) for text, encoder in stations.texts}
    for item in order:
        if isinstance(item, Reject):
            yield item
        else:
            embeddings = {name: by_caption[item.caption] for name, by_caption in texts.items()}
            yield EncodedSample(info=item, latent=latents.pop(item.serial), texts=embeddings)


def encode_visual(samples: Iterable[DecodedSample], stations: Stations) -> dict[int, torch.Tensor]:
    """Latents [C, T', H', W'] on the CPU, by serial."""
    latents: dict[int, torch.Tensor] = {}
    batches = by_shape(
        samples,
        shape=lambda sample: sample.pixels.shape,
        capacity=lambda shape: stations.batch_pixels // (shape[0] * shape[1] * shape[2]),
    )
    for batch in batches:
        pixels = torch.stack([torch.from_numpy(sample.pixels) for sample in batch])  # [B, T, H, W, 3]
        seeds = [(stations.seed << 40) + sample.info.serial for sample in batch]
        encoded = stations.visual.encode(pixels, seeds).cpu()
        # Cloned: a latent that is a view would keep the whole batch alive, and be written with all of it.
        latents.update((sample.info.serial, z.clone()) for sample, z in zip(batch, encoded, strict=True))
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


def _note_order(
    outcomes: Iterable[DecodedSample | Reject], order: list[SampleInfo | Reject]
) -> Iterator[DecodedSample]:
    """Pass the decoded samples on, noting the order of all outcomes without their pixels."""
    for outcome in outcomes:
        if isinstance(outcome, Reject):
            order.append(outcome)
        else:
            order.append(outcome.info)
            yield outcome


def _decode_one(serial: int, sample: PendingSample, decode: Callable[[RawSample], Frames]) -> DecodedSample | Reject:
    """Read and decode one sample, in the pool."""
    try:
        raw = sample.load()
        frames = decode(raw)
    except SampleError as error:
        return _reject(serial, sample.key, sample.source, error)
    num_frames, height, width, _ = frames.pixels.shape
    info = SampleInfo(
        serial=serial,
        key=raw.key,
        source=raw.source,
        caption=raw.caption,
        metadata=raw.metadata,
        num_frames=num_frames,
        height=height,
        width=width,
        original_height=frames.original_height,
        original_width=frames.original_width,
        crop=frames.crop,
        framerate=frames.framerate,
    )
    return DecodedSample(info=info, pixels=frames.pixels)


def _write(outcome: EncodedSample | Reject, target: Target, writer: ShardWriter, tally: Tally) -> None:
    """Lay the sample out as the target wants it, check it, write it; or note the reject."""
    if isinstance(outcome, EncodedSample):
        info = outcome.info
        parts = target.build(outcome)
        try:
            target.check(parts)
        except ContractError as error:
            reason = f"not what {target.name} reads"
            outcome = _reject(info.serial, info.key, info.source, SampleError("target", reason, str(error)))
        else:
            truncated = any(text.truncated for text in outcome.texts.values())
            writer.write(info.serial, serialize(parts), truncated=truncated)
            tally.add_written(truncated=truncated)
            return
    writer.reject(outcome)
    tally.add_reject(outcome)


def _reject(serial: int, key: str, source: str, error: SampleError) -> Reject:
    return Reject(serial=serial, key=key, source=source, stage=error.stage, reason=error.reason, detail=error.detail)
