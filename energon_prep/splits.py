"""Shares of train, val and test: how they are written, and how many of a number each one gets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from energon_prep.errors import UsageError

SPLITS = ("train", "val", "test")

Ratio = tuple[float, float, float]  #: the shares of SPLITS, of any sum


def parse_split(split: str | Sequence[float]) -> Ratio:
    """``"8,1,1"`` -> (8.0, 1.0, 1.0), the shares of train, val and test. Raises PrepError."""
    try:
        ratio = tuple(
            float(part) for part in (split.split(",") if isinstance(split, str) else split)
        )
    except (TypeError, ValueError):
        ratio = ()
    if (
        len(ratio) != len(SPLITS)
        or any(not math.isfinite(part) or part < 0 for part in ratio)
        or not any(ratio)
    ):
        raise UsageError(
            f"split {split!r}: give three comma-separated non-negative numbers, not all zero, "
            f"for {', '.join(SPLITS)}: 8,1,1"
        )
    return ratio[0], ratio[1], ratio[2]


def apportion(total: int, ratio: Sequence[float]) -> list[int]:
    """How many of ``total`` each share gets: largest remainder, and none empty that asks for a
    share.

    Where there are fewer than shares that ask, the largest get one each.
    """
    shares = [Fraction(part) for part in ratio]  # exact: floats would lose some
    quotas = [total * share / sum(shares) for share in shares]
    counts = [math.floor(quota) for quota in quotas]
    by_remainder = sorted(range(len(quotas)), key=lambda split: counts[split] - quotas[split])
    for split in by_remainder[: total - sum(counts)]:
        counts[split] += 1
    wanting = sorted(
        (split for split, share in enumerate(shares) if share), key=lambda split: -shares[split]
    )
    for split in wanting[:total]:
        if not counts[split]:
            counts[counts.index(max(counts))] -= 1
            counts[split] = 1
    return counts


def same_ratio(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether 8,1,1 and 0.8,0.1,0.1 are meant."""
    ones, others = sum(one), sum(other)
    return all(
        math.isclose(a / ones, b / others, abs_tol=1e-9) for a, b in zip(one, other, strict=True)
    )
