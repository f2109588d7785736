"""How the cost of a sample grows with the dataset, the shards, the images and the captions: cases
for benchmarks.ways.

Flat cost per sample and flat peak memory are the claims for the first two: whatever grows with a
dataset shows there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.cases import Case, dummy_case, trimmed_case
from benchmarks.workload import make_squares

Point = tuple[Case, int]  #: and its number of samples


def with_samples(folder: Path, nums: list[int]) -> Iterator[Point]:
    """No models, 128x128 JPEGs, more and more of them."""
    for num in nums:
        source = folder / f"squares-{num}"
        make_squares(source, num=num, size=128)
        yield dummy_case(f"{num:,} samples", source), num


def with_shards(folder: Path, num: int) -> Iterator[Point]:
    """No models, the same samples in ever smaller shards."""
    source = folder / f"squares-{num}"
    make_squares(source, num=num, size=128)
    for per_shard in (num, num // 10, num // 100):
        yield dummy_case(f"shards of {per_shard:,}", source, samples_per_shard=per_shard), num


def with_image_size(folder: Path, num: int) -> Iterator[Point]:
    """No models, JPEGs of ever more pixels, all taken at 512x512: reading and decoding."""
    for size in (256, 512, 1024, 2048):
        source = folder / f"size-{size}"
        make_squares(source, num=num, size=size, distinct=4)
        yield dummy_case(f"images {size}x{size}", source, **{"resize.resolution": 512}), num


def with_resolution(folder: Path, num: int) -> Iterator[Point]:
    """The tiny FLUX models, images of 1024x1024 encoded at more and more pixels."""
    source = folder / f"resolution-{num}"
    make_squares(source, num=num, size=1024, distinct=4)
    for size in (256, 512, 1024):
        yield trimmed_case(f"latents of {size}x{size}", source, {"resize.resolution": size}), num


def with_caption_length(folder: Path, num: int) -> Iterator[Point]:
    """The tiny FLUX models, small images, longer and longer captions."""
    for words in (8, 32, 128):
        source = folder / f"words-{words}"
        make_squares(source, num=num, size=64, words=words)
        yield trimmed_case(f"captions of {words} words", source, {"resize.resolution": 64}), num
