"""A window of decoded samples -> batches -> latents and embeddings.

Batches are made of the samples' order and sizes alone, so a shard's bytes are the same however it is worked on. One
batch is prepared while the device works on the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from energon_prep.device.batch_sizes import pads_to_full
from energon_prep.encoders.base import TextEncoder
from energon_prep.pipeline.batching import by_length, by_shape
from energon_prep.pipeline.reading import Clips
from energon_prep.pipeline.stations import Stations
from energon_prep.recipes.model import Text
from energon_prep.samples import DecodedSample, EncodedSample, Reject, SampleInfo, TextEmbedding

T = TypeVar("T")
R = TypeVar("R")

_View = tuple[SampleInfo, str, "np.ndarray[Any, np.dtype[np.uint8]]"]  #: one of a sample's resolutions
_Latents = dict[tuple[int, int, str], torch.Tensor]  #: by serial, picture and resolution


@dataclass(frozen=True, kw_only=True)
class LatentWindow:
    """A window of samples whose latents are there, and whose captions are still to be encoded."""

    order: list[list[SampleInfo] | Reject]
    latents: _Latents

    @property
    def num_bytes(self) -> int:
        return sum(latent.nbytes for latent in self.latents.values())


def encode_window(outcomes: Iterable[Clips | Reject], stations: Stations) -> Iterator[list[EncodedSample] | Reject]:
    """Encode a window of samples; latents first, while decoding goes on, then the captions of those that made it."""
    return add_texts(encode_pixels(outcomes, stations), stations)


def encode_pixels(outcomes: Iterable[Clips | Reject], stations: Stations) -> LatentWindow:
    """The first half of ``encode_window``."""
    order: list[list[SampleInfo] | Reject] = []
    samples = _note_order(stations.profile.waited_for("decode", outcomes), order)
    return LatentWindow(latents=_encode_visual(samples, stations), order=order)


def add_texts(window: LatentWindow, stations: Stations) -> Iterator[list[EncodedSample] | Reject]:
    """The second half of ``encode_window``."""
    captions = [info.caption for item in window.order if not isinstance(item, Reject) for info in item]
    with stations.profile.station("text"):
        texts = {text.name: encode_captions(captions, text, encoder, stations) for text, encoder in stations.texts}
    for item in window.order:
        if isinstance(item, Reject):
            yield item
            continue
        yield [
            _encoded(
                info,
                {name: window.latents[info.serial, info.picture, name] for name in info.sizes},
                {name: by_caption[info.caption] for name, by_caption in texts.items()},
                stations.visual.channels,
            )
            for info in item
        ]


def encode_captions(
    captions: Iterable[str], text: Text, encoder: TextEncoder, stations: Stations
) -> dict[str, TextEmbedding]:
    """Embeddings by caption: equal captions are encoded once, similar lengths together."""
    unique = list(dict.fromkeys(captions))
    token_ids = encoder.tokenize(unique)
    longest = text.max_tokens + _template_tokens(text, token_ids)
    lengths = [longest if pads_to_full(text) else min(len(ids), longest) for ids in token_ids]

    def launch(batch: Sequence[int]) -> Callable[[], list[TextEmbedding]]:
        return stations.halving.launch(text.name, [token_ids[i] for i in batch], encoder.launch)

    embeddings: dict[str, TextEmbedding] = {}
    sizes = stations.sizes
    for batch, encoded in _overlapped(by_length(lengths, budget=sizes.tokens[text.name], count=sizes.samples), launch):
        embeddings.update(zip((unique[i] for i in batch), encoded, strict=True))
    return embeddings


def _template_tokens(text: Text, token_ids: Sequence[Sequence[int]]) -> int:
    """Tokens that every caption has besides those that max_tokens counts; about, where the recipe does not say."""
    if text.template is None or text.drop_tokens is not None:
        return text.drop_tokens or 0
    return min((len(ids) for ids in token_ids), default=0)


def _encode_visual(samples: Iterable[DecodedSample], stations: Stations) -> _Latents:
    """Latents [C, T', H', W'] on the CPU."""
    batches = by_shape(
        ((sample.info, name, pixels) for sample in samples for name, pixels in sample.pixels.items()),
        shape=lambda view: view[2].shape,
        capacity=lambda shape: stations.sizes.views(*shape[:3]),
    )

    def start(views: Sequence[_View]) -> Callable[[], Iterable[torch.Tensor]]:
        pixels = torch.from_numpy(np.stack([view for _, _, view in views]))  # [B, T, H, W, 3]
        return stations.visual.launch(pixels, [_draw_seed(stations.seed, info) for info, _, _ in views])

    def launch(views: Sequence[_View]) -> Callable[[], list[torch.Tensor]]:
        frames, height, width, _ = views[0][2].shape
        with stations.profile.station("visual"):
            wait = stations.halving.launch(f"{frames}x{height}x{width}", views, start)

        def finish() -> list[torch.Tensor]:
            # Copied out: a latent that is a view would keep the whole batch alive, and be written with all of it.
            with stations.profile.station("visual"):
                return [latent.clone() for latent in wait()]

        return finish

    latents: _Latents = {}
    for views, encoded in _overlapped(batches, launch):
        for (info, name, _), latent in zip(views, encoded, strict=True):
            latents[info.serial, info.picture, name] = latent
    return latents


def _overlapped(batches: Iterable[T], launch: Callable[[T], Callable[[], R]]) -> Iterator[tuple[T, R]]:
    """Each batch and its result, in order; the next is launched before a result is waited for."""
    before: tuple[T, Callable[[], R]] | None = None
    for batch in batches:
        launched = (batch, launch(batch))
        if before is not None:
            yield before[0], before[1]()
        before = launched
    if before is not None:
        yield before[0], before[1]()


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
            # Samples that differ in their caption alone share a picture, which is encoded once.
            pictures: dict[int, DecodedSample] = {}
            for sample in outcome:
                pictures.setdefault(sample.info.picture, sample)
            yield from pictures.values()


def _draw_seed(seed: int, info: SampleInfo) -> int:
    """Of a sample's posterior draw: its own, whatever batch it is in."""
    return (seed << 48) + (info.serial << 12) + info.picture
