"""Which shard is for train, val and test, and how split.yaml says so."""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction

from braceexpand import braceexpand

from energon_prep.splits import SPLITS, apportion

_MOST_BRACES = 8  #: of a pattern: how many names they stand for is the product of theirs
_RANGE = re.compile(r"\{(-?[0-9]+)\.\.(-?[0-9]+)")
_NUMBERED = re.compile(r"(.*?)([0-9]+)([^0-9]*)", re.DOTALL)


def assign(counts: Mapping[str, int], ratio: Sequence[float]) -> dict[str, list[str]]:
    """Every shard to exactly one split, in order, as near to the shares in samples as whole shards
    come.

    ``counts``: the samples of each shard. None is empty that asks for a share; where there are
    fewer shards than such splits, those with the largest shares get one each. (Energon's own rule
    cuts at floats rounded down: with 7,2,1 the last shard falls out.)
    """
    shards = list(counts)
    cuts = [0, *_cuts([counts[shard] for shard in shards], ratio), len(shards)]
    return {
        split: shards[start:end]
        for split, (start, end) in zip(SPLITS, itertools.pairwise(cuts), strict=True)
    }


def as_planned(
    shards: Iterable[str], planned: Mapping[str, str], ratio: Sequence[float]
) -> dict[str, list[str]] | None:
    """Every shard to the split that it was cut for; None where that does not fit the shares."""
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    for shard in shards:
        if planned.get(shard) not in splits:
            return None
        splits[planned[shard]].append(shard)
    whole = all(
        bool(splits[split]) == bool(share) for split, share in zip(SPLITS, ratio, strict=True)
    )
    return splits if whole else None


def as_before(counts: Mapping[str, int], before: Mapping[str, str]) -> dict[str, list[str]]:
    """Every shard to the split that it was in ``before``; the others one by one to the split that
    then lacks most of the share, in samples, which it had. Without any all are for train.
    """
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    for shard in counts:
        if shard in before:
            splits[before[shard]].append(shard)
    held = {split: sum(counts[shard] for shard in splits[split]) for split in SPLITS}
    shares = dict(held) if any(held.values()) else {SPLITS[0]: 1}
    share = sum(shares.values())
    for shard, count in counts.items():
        if shard in before:
            continue
        total = sum(held.values()) + count
        lacks = {split: shares[split] * total - held[split] * share for split in shares}
        wanting = max((split for split in shares if shares[split]), key=lacks.__getitem__)
        splits[wanting].append(shard)
        held[wanting] += count
    places = {shard: place for place, shard in enumerate(counts)}
    return {split: sorted(shards, key=places.__getitem__) for split, shards in splits.items()}


def _cuts(counts: Sequence[int], ratio: Sequence[float]) -> list[int]:
    """How many shards lie before val, and how many before test."""
    shares = [Fraction(part) for part in ratio]
    wanted = [int(share > 0) for share in shares]
    if sum(wanted) > len(counts):
        train, val, _ = apportion(len(counts), ratio)
        return [train, train + val]
    before = [0, *itertools.accumulate(counts)]
    cuts = [
        _nearest(before, Fraction(before[-1] * sum(shares[:end]), sum(shares))) for end in (1, 2)
    ]
    # One shard at least for each share: from the front, then from the back.
    cuts[0] = max(cuts[0], wanted[0]) if wanted[0] else 0
    cuts[1] = max(cuts[1], cuts[0] + wanted[1]) if wanted[1] else cuts[0]
    if not wanted[2]:
        cuts[1] = len(counts)
    cuts[1] = min(cuts[1], len(counts) - wanted[2])
    cuts[0] = min(cuts[0], cuts[1] - wanted[1]) if wanted[1] else cuts[1]
    return cuts


def _nearest(values: Sequence[int], goal: Fraction) -> int:
    """The place of the one of the growing ``values`` that is nearest to ``goal``."""
    place = bisect.bisect_left(values, goal)
    if place == 0:
        return 0
    return place - 1 if goal - values[place - 1] <= values[place] - goal else place


def collapse(shards: Sequence[str]) -> list[str]:
    """Runs whose last number counts up become one brace expression, in order:
    ``shard_{000000..000999}.tar``.

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


def split_config(
    splits: Mapping[str, Sequence[str]], exclude: Sequence[object] = ()
) -> dict[str, object]:
    """The content of split.yaml."""
    return {
        "split_parts": {split: collapse(shards) for split, shards in splits.items()},
        "exclude": list(exclude),
    }


def expand(pattern: str, num_tars: int) -> Iterator[str]:
    """The names that a pattern stands for. Raises ValueError where they are many times more than
    there are tars.
    """
    ranges = [abs(int(last) - int(first)) for first, last in _RANGE.findall(pattern)]
    if pattern.count("{") > _MOST_BRACES or sum(ranges) > 100 * num_tars + 10_000:
        raise ValueError(f"{pattern[:80]!r} stands for too many names")
    for number, name in enumerate(braceexpand(pattern)):
        if number > 100 * num_tars + 10_000:
            raise ValueError(f"{pattern[:80]!r} stands for too many names")
        yield name
