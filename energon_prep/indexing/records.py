"""What our own records (ledger, plan, run.json) say of a dataset that this tool wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energon_prep.encoders.made_up import made_up_weights
from energon_prep.errors import PrepError
from energon_prep.indexing.tars import Listing
from energon_prep.layout import PLAN, RUN, tar_name
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.splits import parse_split, same_ratio


@dataclass(frozen=True, kw_only=True)
class RunTarget:
    """The trainer contract a dataset was written for."""

    name: str
    subflavors: dict[str, Any]
    plugin: dict[str, Any]  #: where a user's class came from; empty for ours
    made_up: str = ""  #: a sentence about encoders whose weights nobody trained


def ledger_counts(entries: Sequence[LedgerEntry]) -> dict[str, int]:
    """Samples of each shard that has a tar."""
    return {entry.shard: entry.num_samples for entry in entries if entry.shard}


def ledger_problems(root: Path, entries: Sequence[LedgerEntry], listing: Listing) -> Iterator[str]:
    """Tars that are missing, have another size than recorded, or are not of this dataset."""
    for entry in entries:
        if not entry.shard:
            continue
        try:
            size = (root / entry.shard).stat().st_size
        except FileNotFoundError:
            yield (
                f"{entry.shard}: it is in the ledger and missing: restore it, or run the same "
                "encode again"
            )
            continue
        if size != entry.bytes:
            yield (
                f"{entry.shard}: it has {size} bytes and {entry.bytes} were written: restore it, "
                "or run the same encode again"
            )
    known = {entry.shard for entry in entries}
    for tar in listing.tars:
        if tar not in known:
            yield f"{tar}: this stray tar is not of this dataset (not in the ledger): move it away"


def num_unfinished(root: Path, entries: Sequence[LedgerEntry]) -> int:
    """How many shards of the plan are not in the ledger."""
    try:
        with (root / PLAN).open("rb") as plan:
            return max(0, sum(1 for _ in plan) - len(entries))
    except FileNotFoundError:
        return 0


def read_planned_splits(root: Path, ratio: Sequence[float] | None) -> dict[str, str] | None:
    """The split that each tar was cut for; None if the plan was not cut for these shares (None:
    for any), or cannot be read.
    """
    try:
        shares = json.loads((root / RUN).read_bytes())["cut"]["split"]
        if shares is None or not (ratio is None or same_ratio(parse_split(shares), ratio)):
            return None
        with (root / PLAN).open("rb") as plan:
            shards = [json.loads(line) for line in plan]
        return {tar_name(int(shard["index"])): str(shard["split"]) for shard in shards}
    except (OSError, ValueError, KeyError, TypeError, RecursionError, PrepError):
        return None


def read_target(root: Path) -> RunTarget:
    """Raises PrepError if run.json is missing or damaged."""
    path = root / RUN
    try:
        run = json.loads(path.read_bytes())
        target, encoders = run["target"], run.get("encoders", {})
        return RunTarget(
            name=str(target["name"]),
            subflavors=dict(target["subflavors"]),
            plugin=dict(target.get("plugin", {})),
            made_up=made_up_weights(encoders) if isinstance(encoders, dict) else "",
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise PrepError(
            f"{path} does not name the dataset's target ({type(error).__name__}: {error}): "
            "restore it, or run the same encode again"
        ) from error
