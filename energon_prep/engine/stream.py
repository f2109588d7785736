"""The way of the samples through one worker: read and decode | batch and encode | lay out and write, at once.

Three stretches run beside each other: a pool decodes ahead, beyond the end of the shard; this thread runs the models;
a thread of its own serialises and writes. Each waits for the next where that is slower, so memory stays bounded, and
none of it changes a byte: what is batched with what depends on the samples' order and sizes alone.
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor

from energon_prep.engine.encoding import encode_window
from energon_prep.engine.memory import give_back
from energon_prep.engine.plan import ShardPlan
from energon_prep.engine.reading import decode_ahead, decode_one, number_samples
from energon_prep.engine.stations import Stations
from energon_prep.engine.tally import Tally
from energon_prep.engine.writing import write_window
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.shards.writer import ShardWriter
from energon_prep.storage import Storage

_UNWRITTEN = 2  #: windows encoded and not yet written, at most


def encode_shards(
    shards: Iterable[ShardPlan], stations: Stations, *, storage: Storage, pool: Executor, ahead: int, tally: Tally
) -> Iterator[LedgerEntry]:
    """Encode shard after shard and publish each. ``ahead``: samples decoded in advance."""
    ours, to_read = itertools.tee(shards)
    pending = itertools.chain.from_iterable(number_samples(shard, stations.source) for shard in to_read)
    decode = functools.partial(decode_one, decode=stations.decode, carry=stations.carry)
    outcomes = decode_ahead(pending, decode, pool=pool, ahead=ahead)
    unfinished: deque[ShardWriter] = deque()
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="write") as writing:
            tasks: deque[Future[LedgerEntry | None]] = deque()
            for shard in ours:
                writer = ShardWriter(storage, index=shard.index, num_planned=shard.num_samples)
                unfinished.append(writer)
                for size in _windows(shard.num_samples, stations.window):
                    window = list(encode_window(itertools.islice(outcomes, size), stations))
                    tasks.append(writing.submit(write_window, window, stations.target, writer, tally))
                    give_back()
                    yield from _settle(tasks, unfinished, most=_UNWRITTEN)
                tasks.append(writing.submit(writer.finish))
            yield from _settle(tasks, unfinished, most=0)
    finally:
        for writer in unfinished:
            writer.discard()


def _settle(
    tasks: deque[Future[LedgerEntry | None]], unfinished: deque[ShardWriter], *, most: int
) -> Iterator[LedgerEntry]:
    """Wait until at most so many writing tasks are left; give out the shards that were published."""
    while len(tasks) > most:
        entry = tasks.popleft().result()
        if entry is not None:
            unfinished.popleft()
            yield entry


def _windows(num_samples: int, size: int) -> Iterator[int]:
    """Sizes of the windows a shard is encoded in."""
    for start in range(0, num_samples, size):
        yield min(size, num_samples - start)
