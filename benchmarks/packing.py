"""How full packs are, by the number of samples that the packing buffer holds: arithmetic alone.

    python -m benchmarks.packing

Each case draws the lengths of 20,000 samples, cuts them into buffers, and packs each buffer as the
task encoders do. Fill is the share of the packs' places that have a token.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.tables import markdown_table
from task_encoders.packing import first_fit_decreasing

NUM_SAMPLES = 20_000
BUFFERS = (8, 20, 40, 100, 400, 1000)  #: samples
PACKS = (1, 2, 5, 10, 20, 50)  #: what a buffer holds, in packs' worth


@dataclass(frozen=True, kw_only=True)
class Case:
    """Samples of one training."""

    name: str
    seq_length: int
    draw: Callable[[random.Random], int]  #: the length of a sample, in tokens

    @functools.cached_property
    def lengths(self) -> list[int]:
        drawn = random.Random(0)
        return [self.draw(drawn) for _ in range(NUM_SAMPLES)]

    @property
    def samples_a_pack(self) -> float:
        return self.seq_length * NUM_SAMPLES / sum(self.lengths)


def wan_length(drawn: random.Random) -> int:
    """Half images, half clips of 17 to 81 frames, of 480x832: 1,560 tokens a latent frame."""
    return 1560 * (1 if drawn.random() < 0.5 else drawn.choice((5, 9, 13, 17, 21)))


def clip_length(drawn: random.Random) -> int:
    return 1560 * drawn.choice((5, 9, 13, 17, 21))


def image_length(drawn: random.Random) -> int:
    """Images of buckets of 512 or 1024 pixels, in multiples of 64 tokens, as DiT pads them."""
    sides = drawn.choice(((64, 64), (56, 72), (48, 80), (40, 96)))
    tokens = sides[0] * sides[1] // 4 * drawn.choice((1, 4))
    return -(-tokens // 64) * 64


CASES = (
    Case(name="WAN, images and clips", seq_length=98304, draw=wan_length),
    Case(name="WAN, images and clips", seq_length=32768, draw=wan_length),
    Case(name="WAN, clips", seq_length=98304, draw=clip_length),
    Case(name="DiT, images of two areas", seq_length=8192, draw=image_length),
)


def fill(lengths: Sequence[int], capacity: int, buffer: int) -> float:
    """The share of the packs' places that have a token, if ``buffer`` samples are packed at a
    time.
    """
    num_packs = sum(
        len(first_fit_decreasing(lengths[first : first + buffer], capacity))
        for first in range(0, len(lengths) - buffer + 1, buffer)
    )
    packed = sum(lengths[: len(lengths) // buffer * buffer])
    return packed / (num_packs * capacity)


def rows(columns: Sequence[int], buffer_of: Callable[[Case, int], int]) -> Iterator[list[str]]:
    for case in CASES:
        buffers = [buffer_of(case, column) for column in columns]
        fills = [fill(case.lengths, case.seq_length, buffer) for buffer in buffers]
        cells = [case.name, f"{case.seq_length:,}", f"{case.samples_a_pack:.1f}"]
        yield [*cells, *(f"{value:.0%}" for value in fills)]


def show(title: str, columns: Sequence[int], buffer_of: Callable[[Case, int], int]) -> None:
    heads = ["samples", "`seq_length`", "samples a pack", *(f"{column:,}" for column in columns)]
    print(f"{title}\n")
    for line in markdown_table(heads, rows(columns, buffer_of)):
        print(line, flush=True)


def main() -> None:
    show("By samples in the buffer:", BUFFERS, lambda _, column: column)
    show(
        "\nBy packs' worth of samples in the buffer:",
        PACKS,
        lambda case, column: max(1, round(column * case.samples_a_pack)),
    )


if __name__ == "__main__":
    main()
