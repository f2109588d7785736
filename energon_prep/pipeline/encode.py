"""Windows of decoded samples -> batches -> latents and embeddings.

Batches are made of the samples' order and sizes alone, so a shard's bytes are the same however it
is worked on. One batch is prepared while the device works on the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from energon_prep.device.batch_sizes import pads_to_full
from energon_prep.device.turns import GROUP_BYTES, Turns
from energon_prep.encoders.base import TextEncoder
from energon_prep.pipeline.batch import by_length, by_shape
from energon_prep.pipeline.stations import Stations
from energon_prep.pipeline.tally import Counts
from energon_prep.pipeline.window import Clips, DecodedWindow, EncodedWindow, Latents, LatentWindow
from energon_prep.recipes.model import Text
from energon_prep.samples import DecodedSample, EncodedSample, Reject, SampleInfo, TextEmbedding

T = TypeVar("T")
R = TypeVar("R")

#: one of a sample's resolutions
_View = tuple[SampleInfo, str, "np.ndarray[Any, np.dtype[np.uint8]]"]


def encode_pixels(
    windows: Iterable[DecodedWindow], stations: Stations, counts: Counts
) -> Iterator[LatentWindow]:
    """Batches of equal shape, while decoding goes on -> latents."""
    for window in windows:
        stations.turns.begin("visual")
        order: list[list[SampleInfo] | Reject] = []
        samples = _note_order(stations.profile.waited_for("decode", window.outcomes), order)
        latents = _encode_visual(samples, stations, counts)
        yield LatentWindow(shard=window.shard, is_last=window.is_last, order=order, latents=latents)


def encode_texts(
    windows: Iterable[LatentWindow], stations: Stations, counts: Counts
) -> Iterator[EncodedWindow]:
    """Batches of similar length, of the captions of what has latents -> embeddings."""
    for window in in_turns(windows, stations.turns):
        samples = [item for item in window.order if not isinstance(item, Reject)]
        captions = [info.caption for sample in samples for info in sample]
        count = partial(_count, counts, len(samples) * _share(stations))
        with stations.profile.station("text"):
            texts = {
                text.name: encode_captions(captions, text, encoder, stations, count)
                for text, encoder in stations.texts
            }
        moments = stations.moments
        outcomes = [
            item
            if isinstance(item, Reject)
            else [_encoded(info, window.latents, texts, moments) for info in item]
            for item in window.order
        ]
        counts.add_window(len(window.order), len(samples))
        yield EncodedWindow(shard=window.shard, is_last=window.is_last, outcomes=outcomes)


def in_turns(windows: Iterable[LatentWindow], turns: Turns) -> Iterator[LatentWindow]:
    """Windows when it is the text encoders' turn: after each one, or after a group of them."""
    group: list[LatentWindow] = []
    for window in windows:
        group.append(window)
        if not turns.taken or sum(window.num_bytes for window in group) >= GROUP_BYTES:
            turns.begin("text")
            yield from group
            group = []
    if group:
        turns.begin("text")
        yield from group


def encode_captions(
    captions: Iterable[str],
    text: Text,
    encoder: TextEncoder,
    stations: Stations,
    on_batch: Callable[[float], None] = lambda part: None,
) -> dict[str, TextEmbedding]:
    """Embeddings by caption: equal captions are encoded once, similar lengths together.

    ``on_batch`` is called with each batch's part of the whole.
    """
    unique = list(dict.fromkeys(captions))
    token_ids = encoder.tokenize(unique)
    longest = text.max_tokens + _template_tokens(text, token_ids)
    lengths = [min(len(ids), longest) for ids in token_ids]
    if pads_to_full(text):
        lengths = [longest] * len(token_ids)

    def launch(batch: Sequence[int]) -> Callable[[], list[TextEmbedding]]:
        return stations.halving.launch(text.name, [token_ids[i] for i in batch], encoder.launch)

    embeddings: dict[str, TextEmbedding] = {}
    sizes = stations.sizes
    for batch, encoded in _overlapped(
        by_length(lengths, budget=sizes.tokens[text.name], count=sizes.samples), launch
    ):
        embeddings.update(zip((unique[i] for i in batch), encoded, strict=True))
        on_batch(len(batch) / len(unique))
    return embeddings


def _template_tokens(text: Text, token_ids: Sequence[Sequence[int]]) -> int:
    """Tokens that every caption has besides those that max_tokens counts; about, where the recipe
    does not say.
    """
    if text.template is None or text.drop_tokens is not None:
        return text.drop_tokens or 0
    return min((len(ids) for ids in token_ids), default=0)


def _share(stations: Stations) -> float:
    """What each encoder does of a sample, as far as progress is concerned."""
    return 1 / (1 + len(stations.texts))


def _count(counts: Counts, share: float, part: float) -> None:
    counts.add_encoded(share * part)


def _encode_visual(samples: Iterable[DecodedSample], stations: Stations, counts: Counts) -> Latents:
    """Latents [C, T', H', W'] on the CPU."""
    batches = by_shape(
        (
            (sample.info, name, pixels)
            for sample in samples
            for name, pixels in sample.pixels.items()
        ),
        shape=lambda view: view[2].shape,
        capacity=lambda shape: stations.sizes.views(*shape[:3]),
    )

    def start(views: Sequence[_View]) -> Callable[[], Iterable[torch.Tensor]]:
        pixels = torch.from_numpy(np.stack([view for _, _, view in views]))  # [B, T, H, W, 3]
        return stations.visual.launch(
            pixels, [_draw_seed(stations.seed, info) for info, _, _ in views]
        )

    def launch(views: Sequence[_View]) -> Callable[[], list[torch.Tensor]]:
        frames, height, width, _ = views[0][2].shape
        with stations.profile.station("visual"):
            wait = stations.halving.launch(f"{frames}x{height}x{width}", views, start)

        def finish() -> list[torch.Tensor]:
            # Copied out: a latent that is a view would keep the whole batch alive, and be written
            # with all of it.
            with stations.profile.station("visual"):
                return [latent.clone() for latent in wait()]

        return finish

    latents: Latents = {}
    seen: set[int] = set()
    for views, encoded in _overlapped(batches, launch):
        for (info, name, _), latent in zip(views, encoded, strict=True):
            latents[info.serial, info.picture, name] = latent
        fresh = {info.serial for info, _, _ in views} - seen
        counts.add_encoded(len(fresh) * _share(stations))
        seen |= fresh
    return latents


def _overlapped(
    batches: Iterable[T], launch: Callable[[T], Callable[[], R]]
) -> Iterator[tuple[T, R]]:
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
    info: SampleInfo,
    latents: Latents,
    texts: Mapping[str, Mapping[str, TextEmbedding]],
    moments: bool,
) -> EncodedSample:
    return EncodedSample(
        info=info,
        latents={name: latents[info.serial, info.picture, name] for name in info.sizes},
        texts={name: by_caption[info.caption] for name, by_caption in texts.items()},
        moments=moments,
    )


def _note_order(
    outcomes: Iterable[Clips | Reject], order: list[list[SampleInfo] | Reject]
) -> Iterator[DecodedSample]:
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
