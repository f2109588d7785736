"""An index follows its dataset, and what people chose for it stays."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from energon_prep.indexing.meta import (
    DATASET_YAML,
    INFO_JSON,
    SPLIT_ASIDE,
    SPLIT_YAML,
    UUID,
    from_yaml,
    is_as_written,
    read_shard_counts,
    read_subflavors,
)
from energon_prep.indexing.ours import identify
from energon_prep.indexing.records import ledger_counts
from energon_prep.indexing.split import as_before, as_planned, assign, expand
from energon_prep.layout import META_DIR
from energon_prep.shards.ledger import read_ledger
from energon_prep.splits import SPLITS, Ratio


def is_stale(root: Path) -> bool:
    """Whether there is an index that is not of the shards in the ledger, or was cut short."""
    meta = root / META_DIR
    if not (meta / INFO_JSON).exists():
        return False
    shards = [entry for entry in read_ledger(root) or () if entry.shard]
    if not shards:
        return False
    try:
        same = (meta / UUID).read_text() == identify(shards).uuid
    except (OSError, ValueError):
        same = False
    counts = read_shard_counts(meta)
    return not (same and counts == ledger_counts(shards) and (meta / SPLIT_YAML).exists())


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What people chose for an index, as far as it can be read."""

    splits: Mapping[str, str] = field(default_factory=dict)  #: of each shard
    exclude: list[object] | None = None  #: samples that are taken out of training; None: not asked
    subflavors: Mapping[str, Any] = field(default_factory=dict)


def read_chosen(root: Path, num_tars: int) -> Chosen:
    meta = root / META_DIR
    splits, exclude = {}, []
    for name in (SPLIT_YAML, SPLIT_ASIDE):
        try:
            config = from_yaml((meta / name).read_text())
            splits = {
                tar: split
                for split, patterns in config["split_parts"].items()
                if split in SPLITS
                for pattern in patterns
                for tar in expand(pattern, num_tars)
            }
            exclude = list(config.get("exclude") or ())
            break
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
            continue
    subflavors: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        text = (meta / DATASET_YAML).read_text()
        if is_as_written(text):  # one that was edited is kept as it is
            subflavors = read_subflavors(text)
    return Chosen(splits=splits, exclude=exclude, subflavors=subflavors)


def choose_splits(
    counts: Mapping[str, int],
    ratio: Ratio | None,
    planned: Mapping[str, str] | None,
    before: Mapping[str, str],
) -> dict[str, list[str]]:
    """Which shards, of so many samples, each split has: as they are ``planned``, or by shares;
    without a ``ratio`` each where it was ``before``.
    """
    if ratio is None:
        return as_before(counts, {**(planned or {}), **before})
    return (planned and as_planned(counts, planned, ratio)) or assign(counts, ratio)
