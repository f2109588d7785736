"""Of the recipe, of the kind of device, or found by trial; fixed for a dataset."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from energon_prep.device.out_of_memory import free_memory, is_out_of_memory
from energon_prep.encoders.base import TextEncoder, VisualEncoder
from energon_prep.recipes.model import Recipe, Text

log = logging.getLogger(__name__)

#: What one batch may hold where the recipe does not say: frames * height * width, and sequences *
#: longest. Processors work fastest on what fits their caches.
_PIXELS = {"cpu": 512 * 512, "cuda": 8 * 512 * 512}
_TOKENS = {"cpu": 1024, "cuda": 8192}

_MOST = 64  #: samples of one trial
_GAIN = 1.05  #: a larger batch must be faster by this, since it takes more memory
_TRIAL_TOKENS = 64  #: of a caption in trials, where captions are not padded
_TRIAL_SECONDS = 0.2  #: a size is tried again until it has run so long


@dataclass(frozen=True, kw_only=True)
class BatchSizes:
    """What one batch may hold at most."""

    pixels: int  #: frames * height * width
    tokens: dict[str, int]  #: sequences * longest, by the recipe's names of text encoders
    samples: int | None = None  #: in the place of both

    def views(self, frames: int, height: int, width: int) -> int:
        """How many images or clips of this size a batch has."""
        return self.samples or max(1, self.pixels // (frames * height * width))

    def describe(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @staticmethod
    def parse(value: object) -> BatchSizes:
        """What ``describe`` gave. Raises ValueError for anything else."""
        if isinstance(value, Mapping) and isinstance(value.get("tokens"), Mapping):
            pixels, tokens, samples = (
                value.get("pixels"),
                dict(value["tokens"]),
                value.get("samples"),
            )
            if all(
                type(size) is int and size > 0 for size in (pixels, samples or 1, *tokens.values())
            ):
                return BatchSizes(pixels=pixels or 0, tokens=tokens, samples=samples)
        raise ValueError(f"batch sizes are {value!r}")


def given_sizes(recipe: Recipe, device: str) -> BatchSizes:
    """Of the recipe, and where it does not say, of the kind of device."""
    kind = device.partition(":")[0]
    return BatchSizes(
        pixels=recipe.visual.batch_pixels or _PIXELS.get(kind, _PIXELS["cuda"]),
        tokens={
            text.name: text.batch_tokens or _TOKENS.get(kind, _TOKENS["cuda"])
            for text in recipe.text
        },
        samples=None if recipe.batch_size == "auto" else recipe.batch_size,
    )


def best_pixels(encoder: VisualEncoder, shape: tuple[int, int, int]) -> int:
    """``BatchSizes.pixels`` by trial, with noise of ``shape`` (frames, height, width)."""

    def encode(size: int) -> None:
        encoder.launch(torch.randint(0, 256, (size, *shape, 3), dtype=torch.uint8), range(size))()

    size = best_size(encode)
    log.info("visual batches: %d of %dx%dx%d, found by trial", size, *shape)
    return size * math.prod(shape)


def best_tokens(text: Text, encoder: TextEncoder) -> int:
    """One of ``BatchSizes.tokens`` by trial, with captions as long as they are at most, or as most
    are.
    """
    width = text.max_tokens if pads_to_full(text) else min(text.max_tokens, _TRIAL_TOKENS)
    (words,) = encoder.tokenize(["many words of a long caption " * width])

    def encode(size: int) -> None:
        encoder.launch([words[:width]] * size)()

    size = best_size(encode)
    log.info("batches of %s: %d captions of %d tokens, found by trial", text.name, size, width)
    return size * width


def pads_to_full(text: Text) -> bool:
    """Whether every caption is run at the full length."""
    return text.padding == "max_length" or not text.attention_mask


def best_size(run: Callable[[int], None]) -> int:
    """The number of samples, a power of two, from which more at once are no faster or do not fit
    into memory.
    """
    best, fastest = 1, float("inf")
    for size in itertools.takewhile(lambda n: n <= _MOST, (2**i for i in itertools.count())):
        try:
            seconds = _seconds(run, size) / size
        except RuntimeError as error:
            if size == 1 or not is_out_of_memory(error):
                raise
            break
        finally:
            free_memory()
        if seconds * _GAIN > fastest:
            break
        best, fastest = size, seconds
    return best


def _seconds(run: Callable[[int], None], size: int) -> float:
    """The shortest of several runs, after one that warms up."""
    run(size)
    times: list[float] = []
    while sum(times) < _TRIAL_SECONDS:
        started = time.perf_counter()
        run(size)
        times.append(time.perf_counter() - started)
    return min(times)
