"""This process is the only worker."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import ExitStack

from energon_prep.device.batch_sizes import BatchSizes
from energon_prep.device.tuning import caller_left_alone
from energon_prep.executors.base import Ready
from energon_prep.executors.job import Job
from energon_prep.executors.worker import Worker
from energon_prep.pipeline.tally import Profile, Tally
from energon_prep.plan.shards import ShardPlan
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.storage import Storage


class LocalExecutor:
    """Encodes shard after shard here."""

    def __init__(self, job: Job, storage: Storage) -> None:
        self._job = job
        self._storage = storage
        self._worker: Worker | None = None
        self._ready: Ready | None = None
        self._caller = ExitStack()
        self._caller.enter_context(caller_left_alone())

    def load(self, sizes: BatchSizes | None) -> Ready:
        if self._ready is None:
            self._worker = Worker(self._job)
            self._ready = self._worker.prepare(sizes)
        return self._ready

    def run(self, shards: Iterable[ShardPlan], tally: Tally) -> Generator[LedgerEntry, None, None]:
        assert self._worker is not None, "load comes first"
        tally.meter.start()
        return self._worker.encode(shards, storage=self._storage, counts=tally)

    @property
    def profile(self) -> Profile:
        return Profile() if self._worker is None else self._worker.profile

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
        self._worker = None
        self._caller.close()
