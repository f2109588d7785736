"""The engine's middle stretch: a window of decoded samples -> batches -> latents and embeddings.

Batches are made of the samples' order and sizes alone, so a shard's bytes are the same however it is worked on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from energon_prep.encoders.base import TextEncoder
from energon_prep.engine.batching import by_length, by_shape
from energon_prep.engine.reading import Clips
from energon_prep.engine.stations import Stations
from energon_prep.recipes.model import Text
from energon_prep.samples import DecodedSample, EncodedSample, Reject, SampleInfo, TextEmbedding


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
            _encoded(
                info,
                {name: latents.pop((info.serial, info.clip, name)) for name in info.sizes},
                {name: by_caption[info.caption] for name, by_caption in texts.items()},
                stations.visual.channels,
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
    longest = text.max_tokens + (text.drop_tokens or 0)  # max_tokens counts what is stored, without the template
    full = text.padding == "max_length" or not text.attention_mask  # the encoder pads such batches to the longest
    lengths = [longest if full else min(len(ids), longest) for ids in token_ids]
    embeddings: dict[str, TextEmbedding] = {}
    for batch in by_length(lengths, budget=text.batch_tokens):
        encoded = encoder.encode([token_ids[i] for i in batch])
        embeddings.update(zip((unique[i] for i in batch), encoded, strict=True))
    return embeddings


def _encoded(
    info: SampleInfo, latents: dict[str, torch.Tensor], texts: dict[str, TextEmbedding], channels: int
) -> EncodedSample:
    moments = all(len(latent) == 2 * channels for latent in latents.values())
    return EncodedSample(info=info, latents=latents, texts=texts, moments=moments)


def _note_order(outcomes: Iterable[Clips | Reject], order: list[list[SampleInfo] | Reject]) -> Iterator[DecodedSample]:
    """Pass the decoded samples on, noting the order of all outcomes without their pixels."""
    for outcome in outcomes:
        if isinstance(outcome, Reject):
            order.append(outcome)
        else:
            order.append([sample.info for sample in outcome])
            yield from outcome


def _draw_seed(seed: int, info: SampleInfo) -> int:
    """Of a sample's posterior draw: its own, whatever batch it is in."""
    return (seed << 48) + (info.serial << 12) + (info.clip or 0)
