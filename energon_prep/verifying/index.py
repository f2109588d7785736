""".nv-meta against the tars."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from braceexpand import braceexpand

from energon_prep.indexing.meta import (
    DATASET_YAML,
    INFO_JSON,
    SPLIT_YAML,
    SQLITE,
    from_yaml,
    read_shard_counts,
    read_sqlite_counts,
    read_subflavors,
)
from energon_prep.layout import META_DIR

_REMEDY = "run energon-prep index"
_MOST_BRACES = 8  #: of a pattern: how many names they stand for is the product of theirs
_RANGE = re.compile(r"\{(-?[0-9]+)\.\.(-?[0-9]+)")


@dataclass(frozen=True, kw_only=True)
class IndexCheck:
    """What was found in .nv-meta."""

    shards: dict[str, int] | None  #: tars in the index's order -> samples; None: not indexed
    has_sqlite: bool  #: index.sqlite can be read
    problems: tuple[str, ...]


def check_index(
    root: Path,
    tars: Sequence[str],
    known_counts: Mapping[str, int] | None,
    subflavors: Mapping[str, Any],
) -> IndexCheck:
    """Hold the index's lists against the tars that are there, and against the ledger's counts where
    there are any.

    ``subflavors``: those of the dataset's target, which dataset.yaml must have.
    """
    meta = root / META_DIR
    needed = (INFO_JSON, SPLIT_YAML, DATASET_YAML)
    missing = [name for name in needed if not (meta / name).is_file()]
    if len(missing) == len(needed):
        return IndexCheck(shards=None, has_sqlite=False, problems=())
    problems = [f"{META_DIR}/{name}: it is missing: {_REMEDY}" for name in missing]
    counts = read_shard_counts(meta)
    if counts is None:
        counts = {}
        problems += (
            []
            if INFO_JSON in missing
            else [f"{META_DIR}/{INFO_JSON}: it cannot be read: {_REMEDY}"]
        )
    else:
        problems += _list_problems(INFO_JSON, counts, tars)
    for tar, samples in (known_counts or {}).items():
        if tar in counts and counts[tar] != samples:
            problems.append(
                f"{META_DIR}/{INFO_JSON}: {tar} has {counts[tar]} samples, in the ledger {samples}"
            )
    if DATASET_YAML not in missing:
        problems += _subflavor_problems(meta / DATASET_YAML, subflavors)
    if SPLIT_YAML not in missing:
        problems += _split_problems(meta / SPLIT_YAML, tars)
    sqlite_problems = (
        list(_sqlite_problems(meta / SQLITE, counts)) if (meta / SQLITE).exists() else []
    )
    has_sqlite = (meta / SQLITE).exists() and not sqlite_problems
    return IndexCheck(shards=counts, has_sqlite=has_sqlite, problems=(*problems, *sqlite_problems))


def _list_problems(name: str, listed: Mapping[str, int], tars: Sequence[str]) -> Iterator[str]:
    """Each tar must be listed, and each listed tar exist."""
    for tar in tars:
        if tar not in listed:
            yield f"{META_DIR}/{name}: {tar} is not in it: {_REMEDY}"
    known = set(tars)
    for tar in listed:
        if tar not in known:
            yield f"{META_DIR}/{name}: {tar} is in it and not in the dataset: {_REMEDY}"


def _subflavor_problems(path: Path, needed: Mapping[str, Any]) -> Iterator[str]:
    """Those that tell trainers how to read the samples must be there; further ones may be."""
    try:
        found = read_subflavors(path.read_text())
    except (OSError, ValueError) as error:
        yield f"{META_DIR}/{DATASET_YAML}: it cannot be read ({error}): {_REMEDY} --force"
        return
    for name, value in needed.items():
        if found.get(name) != value:
            what = (
                f"is {found[name]!r}, not {value!r}"
                if name in found
                else f"is missing, which is {value!r}"
            )
            yield (
                f"{META_DIR}/{DATASET_YAML}: subflavor {name} {what}: by it trainers choose "
                f"how samples are read; put it back, or {_REMEDY} --force"
            )


def _split_problems(path: Path, tars: Sequence[str]) -> Iterator[str]:
    try:
        config = from_yaml(path.read_text())
        names = [
            tar
            for part in config["split_parts"].values()
            for item in part
            for tar in _expand(item, len(tars))
        ]
        excluded = config.get("exclude")
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        yield (
            f"{META_DIR}/{SPLIT_YAML}: it cannot be read ({type(error).__name__}: {error}): "
            f"{_REMEDY}"
        )
        return
    listed = Counter(names)
    yield from _list_problems(SPLIT_YAML, listed, tars)
    for tar, times in listed.items():
        if times > 1:
            yield f"{META_DIR}/{SPLIT_YAML}: {tar} is in it {times} times: {_REMEDY}"
    if excluded:
        yield f"{META_DIR}/{SPLIT_YAML}: `exclude: {excluded}` takes samples out of training"


def _expand(pattern: str, num_tars: int) -> Iterator[str]:
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


def _sqlite_problems(path: Path, counts: Mapping[str, int]) -> Iterator[str]:
    try:
        stored = read_sqlite_counts(path)
    except sqlite3.Error as error:
        yield f"{META_DIR}/{SQLITE}: it cannot be read ({error}): {_REMEDY}"
        return
    if sum(stored.values()) != sum(counts.values()):
        yield (
            f"{META_DIR}/{SQLITE}: it has {sum(stored.values())} samples, {INFO_JSON} "
            f"{sum(counts.values())}: {_REMEDY}"
        )
