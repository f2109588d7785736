"""The way of the samples through one worker, station by station.

    read | decode | encode pixels | encode texts | write

Each station takes windows and gives windows, and a window carries its shard. Three of them run
beside each other: a pool decodes ahead, beyond the end of the shard; this thread runs the models,
and launches a batch before it waits for the last; a thread of its own lays out, checks and writes.
Each waits for the next where that is slower, so memory stays bounded, and none of it changes a
byte: what is batched with what depends on the samples' order and sizes alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from functools import partial

from energon_prep.pipeline.decode import Ahead, decode, decode_one
from energon_prep.pipeline.encode import encode_pixels, encode_texts
from energon_prep.pipeline.read import read
from energon_prep.pipeline.stations import Stations
from energon_prep.pipeline.tally import Counts
from energon_prep.pipeline.write import write
from energon_prep.plan.shards import ShardPlan
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.storage import Storage


def encode_shards(
    shards: Iterable[ShardPlan],
    stations: Stations,
    *,
    storage: Storage,
    pool: Executor,
    ahead: Ahead,
    counts: Counts,
) -> Iterator[LedgerEntry]:
    """Encode shard after shard and publish each."""
    started = time.perf_counter()
    try:
        pending = read(shards, stations.source, window=stations.window)
        decoded = decode(pending, partial(decode_one, stations=stations), pool=pool, ahead=ahead)
        latents = encode_pixels(decoded, stations, counts)
        encoded = encode_texts(latents, stations, counts)
        yield from write(encoded, stations, storage=storage, counts=counts)
    finally:
        stations.profile.waited_for_memory = stations.budget.seconds_waited
        stations.profile.seconds += time.perf_counter() - started
