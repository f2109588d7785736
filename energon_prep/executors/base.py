"""Who runs the workers."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from energon_prep.device.batch_sizes import BatchSizes
from energon_prep.pipeline.tally import Profile, Tally
from energon_prep.plan.shards import ShardPlan
from energon_prep.shards.ledger import LedgerEntry


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What a run has to know of its workers before the first shard is encoded."""

    encoders: dict[str, Any]  #: their descriptions, for run.json
    sizes: BatchSizes
    caption_files: dict[str, bytes]  #: what a dataset has of the empty caption, by name


class Executor(Protocol):
    """Hands shards to workers and reports each one that is finished, in any order."""

    def load(self, sizes: BatchSizes | None) -> Ready:
        """Load the models, once; ``sizes``: those of the run that is resumed. Raises PrepError if
        they do not load.
        """
        ...

    def run(self, shards: Iterable[ShardPlan], tally: Tally) -> Generator[LedgerEntry, None, None]:
        """Encode ``shards``. Closed, or left by an error, every worker has come to rest."""
        ...

    @property
    def profile(self) -> Profile:
        """Of what ``run`` has done."""
        ...

    def close(self) -> None:
        """Let the workers go."""
        ...
