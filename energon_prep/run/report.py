"""What a run did, for people and machines."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from energon_prep.plan.shards import PlanSummary
from energon_prep.recipes.model import Recipe
from energon_prep.sources.account import Account


@dataclass(frozen=True, kw_only=True)
class EncodeReport:
    """What a run did: ``num_samples`` = ``num_written`` + ``num_rejected``."""

    dest: str
    num_samples: int
    num_written: int
    num_rejected: int
    rejects: dict[str, int]  #: "stage: reason" -> samples
    #: what was done to written samples -> how often: captions cut, pictures enlarged, ...
    notes: dict[str, int]
    num_shards: int
    split: dict[str, int]  #: samples planned for train, val and test; empty without a split
    found: dict[str, Any]  #: the source's Account: found, samples, companions, passed_over, ...
    num_resumed: int  #: samples that earlier runs had finished
    seconds: float  #: of encoding, after the models were loaded
    workers: int  #: decode threads per device
    #: seconds by station, and those in which the models waited; of all devices together
    profile: dict[str, Any]
    #: the station that the others wait for: read, decode, visual, text or write; "": none
    limited_by: str

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What ``encode`` would do."""

    recipe: Recipe
    source: dict[str, Any]  #: as run.json describes it
    plan: PlanSummary
    account: Account
