"""Executors: who runs the workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from energon_prep.engine.plan import ShardPlan
from energon_prep.shards.ledger import LedgerEntry


class Executor(Protocol):
    """Hands shards to workers and reports each one that is finished, in any order."""

    def run(self, shards: Iterable[ShardPlan]) -> Iterator[LedgerEntry]: ...
