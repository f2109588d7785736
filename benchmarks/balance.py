"""How much longer the slowest rank's batch is than the mean one: arithmetic alone.

    python -m benchmarks.balance

Each rank draws samples of its own and yields a batch when one shape has enough of them, as the task
encoders do; the time of a step is that of the rank whose batch has most tokens.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.tables import markdown_table
from task_encoders.by_tokens import latent_tokens, samples_of

RANKS = (8, 64)
BATCH_SIZE = 8
LARGEST = (1, 2, 4, 8)  #: ``max_tokens``, in samples of the most tokens
NUM_STEPS = 200
SIDES = ((64, 64), (48, 80), (80, 48), (56, 72), (72, 56), (40, 96), (96, 40))


@dataclass(frozen=True, kw_only=True)
class Case:
    """Samples of one training, each shape (and repetition of it) as likely as the others."""

    name: str
    tokens: Sequence[int]

    def max_tokens(self, largest: int) -> int:
        return largest * max(self.tokens)


CASES = (
    Case(
        name="images of two areas",
        tokens=[latent_tokens(1, h // by, w // by) for h, w in SIDES for by in (1, 2)],
    ),
    Case(
        name="half images, half clips of 5 to 21 latent frames",
        tokens=[latent_tokens(t, 60, 104) for t in (1, 1, 1, 1, 1, 5, 9, 13, 17, 21)],
    ),
)


def batches(case: Case, size_of: Callable[[int], int], drawn: random.Random) -> Iterator[int]:
    """The tokens of one rank's batches, without end."""
    waiting: Counter[int] = Counter()
    while True:
        shape = drawn.randrange(len(case.tokens))
        waiting[shape] += 1
        if waiting[shape] == size_of(case.tokens[shape]):
            yield case.tokens[shape] * waiting.pop(shape)


def slowest_over_mean(case: Case, ranks: int, *, max_tokens: int | None) -> float:
    """The mean over the steps, the first of which, when no shape has many samples yet, are left
    out.
    """
    drawn = random.Random(0)

    def size_of(num_tokens: int) -> int:
        return samples_of(num_tokens, max_tokens) or BATCH_SIZE

    streams = [batches(case, size_of, drawn) for _ in range(ranks)]
    steps = [[next(stream) for stream in streams] for _ in range(NUM_STEPS + 20)]
    return fmean(max(step) / fmean(step) for step in steps[20:])


def rows() -> Iterator[list[str]]:
    for case in CASES:
        for ranks in RANKS:
            sizes = [None, *(case.max_tokens(times) for times in LARGEST)]
            found = [slowest_over_mean(case, ranks, max_tokens=size) for size in sizes]
            yield [case.name, str(ranks), *(f"{value:.2f}" for value in found)]


def main() -> None:
    heads = ["samples", "ranks", f"`batch_size={BATCH_SIZE}`", *(f"{times} x" for times in LARGEST)]
    for line in markdown_table(heads, rows()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
