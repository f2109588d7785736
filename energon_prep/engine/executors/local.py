"""Executors: this process is the only worker."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor

from energon_prep.engine.memory import keep_heap_small
from energon_prep.engine.plan import ShardPlan
from energon_prep.engine.stations import Stations
from energon_prep.engine.stream import encode_shards
from energon_prep.engine.tally import Tally
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.storage import Storage

_AHEAD = 8  #: samples decoded in advance, for each decode worker


class LocalExecutor:
    """Encodes shard after shard here, decoding in ``workers`` threads (Pillow releases the GIL)."""

    def __init__(self, stations: Stations, *, storage: Storage, workers: int, tally: Tally) -> None:
        self._stations = stations
        self._storage = storage
        self._workers = workers
        self._tally = tally

    def run(self, shards: Iterable[ShardPlan]) -> Generator[LedgerEntry, None, None]:
        keep_heap_small()
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="decode")
        try:
            yield from encode_shards(
                shards,
                self._stations,
                storage=self._storage,
                pool=pool,
                ahead=_AHEAD * self._workers,
                tally=self._tally,
            )
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
