"""The engine's batch sizes: of the recipe, of the kind of device, or found by trial; fixed for a dataset."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from energon_prep.encoders.base import TextEncoder, VisualEncoder
from energon_prep.engine.out_of_memory import free_memory, is_out_of_memory
from energon_prep.errors import PrepError
from energon_prep.recipes.model import Recipe, Text

log = logging.getLogger(__name__)

#: What one batch may hold where the recipe does not say: frames * height * width, and sequences * longest. Processors
#: work fastest on what fits their caches.
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

    def describe(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @staticmethod
    def parse(value: object) -> BatchSizes:
        """What ``describe`` gave. Raises ValueError for anything else."""
        if isinstance(value, Mapping) and isinstance(value.get("tokens"), Mapping):
            sizes = BatchSizes(pixels=value.get("pixels", 0), tokens=dict(value["tokens"]))
            if all(type(size) is int and size > 0 for size in (sizes.pixels, *sizes.tokens.values())):
                return sizes
        raise ValueError(f"batch sizes are {value!r}")


def with_batch_size(recipe: Recipe, batch_size: int | str | None) -> Recipe:
    """``recipe`` with batches of so many samples of its full size and longest caption; "auto": found by trial.

    Raises PrepError for anything else.
    """
    if batch_size is None:
        return recipe
    auto = batch_size == "auto"
    try:
        number = 1 if auto else int(batch_size)
    except ValueError:
        number = 0
    if number < 1:
        raise PrepError(f"--batch-size {batch_size!r}: give a number of samples (8) or auto")
    pixels = number * _full_size(recipe)
    visual = recipe.visual.model_copy(update={"batch_pixels": "auto" if auto else pixels})
    texts = tuple(
        text.model_copy(update={"batch_tokens": "auto" if auto else number * text.max_tokens}) for text in recipe.text
    )
    return recipe.model_copy(update={"visual": visual, "text": texts})


def pixels_of_batch(recipe: Recipe, encoder: VisualEncoder, device: str) -> int:
    """``BatchSizes.pixels``: of the recipe, of the device, or by trial with samples of the recipe's full size."""
    asked = recipe.visual.batch_pixels
    if asked is None:
        return _PIXELS.get(device.partition(":")[0], _PIXELS["cuda"])
    if asked != "auto":
        return asked
    multiple = encoder.spatial_factor * recipe.resize.patch
    height, width = (max(multiple, side // multiple * multiple) for side in recipe.resize.resolution)
    steps = 0 if encoder.images_only else (recipe.frames.num_frames - 1) // encoder.temporal_factor
    frames = 1 + steps * encoder.temporal_factor

    def encode(size: int) -> None:
        noise = torch.randint(0, 256, (size, frames, height, width, 3), dtype=torch.uint8)
        encoder.encode(noise, range(size))

    size = best_size(encode)
    log.info("visual batches: %d of %dx%dx%d", size, frames, height, width)
    return size * frames * height * width


def tokens_of_batch(text: Text, encoder: TextEncoder, device: str) -> int:
    """One of ``BatchSizes.tokens``, as ``pixels_of_batch``."""
    asked = text.batch_tokens
    if asked is None:
        return _TOKENS.get(device.partition(":")[0], _TOKENS["cuda"])
    if asked != "auto":
        return asked
    width = text.max_tokens if pads_to_full(text) else min(text.max_tokens, _TRIAL_TOKENS)
    (words,) = encoder.tokenize(["many words of a long caption " * width])

    def encode(size: int) -> None:
        encoder.encode([words[:width]] * size)

    size = best_size(encode)
    log.info("batches of %s: %d captions of %d tokens", text.name, size, width)
    return size * width


def pads_to_full(text: Text) -> bool:
    """Whether every caption is run at the full length."""
    return text.padding == "max_length" or not text.attention_mask


def best_size(run: Callable[[int], None]) -> int:
    """The number of samples, a power of two, from which more at once are no faster or do not fit into memory."""
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


def _full_size(recipe: Recipe) -> int:
    height, width = recipe.resize.resolution
    return recipe.frames.num_frames * height * width
