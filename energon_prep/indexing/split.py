"""Station 7, indexing: which shard is for train, val and test, and how split.yaml says so."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction

from energon_prep.errors import PrepError

SPLITS = ("train", "val", "test")

_NUMBERED = re.compile(r"(.*?)([0-9]+)([^0-9]*)", re.DOTALL)


def parse_split(split: str | Sequence[float]) -> tuple[float, float, float]:
    """``"8,1,1"`` -> (8.0, 1.0, 1.0), the shares of train, val and test. Raises PrepError."""
    try:
        ratio = tuple(float(part) for part in (split.split(",") if isinstance(split, str) else split))
    except (TypeError, ValueError):
        ratio = ()
    if len(ratio) != len(SPLITS) or any(not math.isfinite(part) or part < 0 for part in ratio) or not any(ratio):
        raise PrepError(
            f"split {split!r}: give three comma-separated non-negative numbers, not all zero, "
            f"for {', '.join(SPLITS)}: 8,1,1"
        )
    return ratio[0], ratio[1], ratio[2]


def assign(shards: Sequence[str], ratio: Sequence[float]) -> dict[str, list[str]]:
    """Every shard to exactly one split, in order: largest remainder, and none empty that asks for a share.

    Where there are fewer shards than splits with a share, the splits with the largest shares get one each.
    (Energon's own rule cuts at floats rounded down: with 7,2,1 the last shard falls out.)
    """
    counts = _counts(len(shards), ratio)
    splits: dict[str, list[str]] = {}
    start = 0
    for split, count in zip(SPLITS, counts, strict=True):
        splits[split] = list(shards[start : start + count])
        start += count
    return splits


def _counts(total: int, ratio: Sequence[float]) -> list[int]:
    shares = [Fraction(part) for part in ratio]  # exact: floats would lose shards
    quotas = [total * share / sum(shares) for share in shares]
    counts = [math.floor(quota) for quota in quotas]
    by_remainder = sorted(range(len(quotas)), key=lambda split: counts[split] - quotas[split])
    for split in by_remainder[: total - sum(counts)]:
        counts[split] += 1
    wanting = sorted((split for split, share in enumerate(shares) if share), key=lambda split: -shares[split])
    for split in wanting[:total]:
        if not counts[split]:
            counts[counts.index(max(counts))] -= 1
            counts[split] = 1
    return counts


def collapse(shards: Sequence[str]) -> list[str]:
    """Runs whose last number counts up become one brace expression, in order: ``shard_{000000..000999}.tar``.

    The names must be free of braces and backslashes, which Energon expands.
    """
    runs: list[tuple[str, str, str, str]] = []  # prefix, first number, last number, suffix
    for shard in shards:
        match = _NUMBERED.fullmatch(shard)
        prefix, number, suffix = match.groups() if match else (shard, "", "")
        if runs and number and runs[-1] == (prefix, runs[-1][1], _before(number), suffix):
            runs[-1] = (prefix, runs[-1][1], number, suffix)
        else:
            runs.append((prefix, number, number, suffix))
    return [
        f"{prefix}{first}{suffix}" if first == last else f"{prefix}{{{first}..{last}}}{suffix}"
        for prefix, first, last, suffix in runs
    ]


def _before(number: str) -> str:
    """``"0010"`` -> ``"0009"``; what no number of that width precedes gives "-"."""
    before = str(int(number) - 1).zfill(len(number)) if int(number) else "-"
    return before if len(before) == len(number) else "-"


def split_config(splits: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """The content of split.yaml."""
    return {"split_parts": {split: collapse(shards) for split, shards in splits.items()}, "exclude": []}
