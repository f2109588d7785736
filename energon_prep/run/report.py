"""What a run did, for people and machines."""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energon_prep.indexing import IndexReport
from energon_prep.plan.shards import PlanSummary
from energon_prep.recipes.model import Recipe
from energon_prep.sources.account import Account

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EncodeReport:
    """What a run did: ``num_samples`` = ``num_written`` + ``num_rejected``."""

    dest: str  #: the dataset's folder, as it was given
    num_samples: int  #: planned, those of earlier runs of the same dataset included
    num_written: int  #: samples in the tars
    num_rejected: int  #: samples that could not be encoded, or were filtered
    rejects: dict[str, int]  #: "stage: reason" -> samples
    #: "stage: reason" -> the first one's key and what was found, of this run's
    examples: dict[str, str]
    #: what was done to written samples -> how often: captions cut, pictures enlarged, ...
    notes: dict[str, int]
    num_shards: int  #: of the plan
    split: dict[str, int]  #: samples planned for train, val and test; empty without a split
    found: dict[str, Any]  #: the source's Account: found, samples, companions, passed_over, ...
    num_resumed: int  #: samples that earlier runs had finished
    #: samples that were planned behind those of earlier runs; None: that was not asked for
    num_new: int | None
    seconds: float  #: of encoding, after the models were loaded
    workers: int  #: decode threads per device
    #: seconds by station, and those in which the models waited; of all devices together
    profile: dict[str, Any]
    #: the station that the others wait for: read, decode, memory, visual, text or write; "": none
    limited_by: str
    made_up: str = ""  #: a sentence about encoders whose weights nobody trained; "": none
    index: IndexReport | None = None  #: with a split, or where one had to be brought up to date

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)

    def totals(self) -> dict[str, Any]:
        """For run.json, which is entered before the dataset is indexed."""
        totals = self.to_dict()
        for name in ("index", "examples", "made_up", "num_new"):
            del totals[name]
        return totals

    def write_profile(self, path: str | Path) -> None:
        """Where the run spent its time, station by station; of what it did itself, earlier runs
        not included.
        """
        fresh = self.num_samples - self.num_resumed
        stations = {
            name: {
                "seconds": round(seconds, 3),
                "samples_per_s": round(fresh / seconds, 2) if seconds else None,
            }
            for name, seconds in self.profile["busy"].items()
        }
        waits = {name: round(seconds, 3) for name, seconds in self.profile["waits"].items()}
        profile = {
            "samples": fresh,
            "seconds": self.seconds,
            "workers": self.workers,
            "stations": stations,
            "models_waited_for": waits,
            "decoding_waited_for_memory": round(self.profile["waited_for_memory"], 3),
            "limited_by": self.limited_by,
        }
        try:
            Path(path).write_text(json.dumps(profile, indent=2) + "\n")
        except OSError as error:  # which is no reason to call a dataset failed
            log.warning("the profile could not be written: %s", error)


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What ``encode`` would do."""

    recipe: Recipe  #: resolved, with all of its fields
    source: dict[str, Any]  #: as run.json describes it
    plan: PlanSummary  #: shards and samples, by split where one is asked for
    account: Account  #: what was found in the source, and what is passed over
    dest: str  #: where it would write

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "source": self.source,
            "recipe": self.recipe.model_dump(mode="json"),
            "plan": vars(self.plan),
            "found": self.account.describe(),
            "dest": self.dest,
        }
