"""The way of the samples through one worker: read and decode | batch and encode | lay out and write, at once.

Three stretches run beside each other: a pool decodes ahead, beyond the end of the shard; this thread runs the models;
a thread of its own serialises and writes. Each waits for the next where that is slower, so memory stays bounded, and
none of it changes a byte: what is batched with what depends on the samples' order and sizes alone.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass

from energon_prep.device.memory import give_back
from energon_prep.device.threads import start_pool
from energon_prep.device.turns import GROUP_BYTES
from energon_prep.pipeline.encoding import LatentWindow, add_texts, encode_pixels
from energon_prep.pipeline.reading import Ahead, Clips, decode_ahead, decode_one, number_samples
from energon_prep.pipeline.stations import Stations
from energon_prep.pipeline.tally import Counts
from energon_prep.pipeline.writing import write_window
from energon_prep.plan.shards import ShardPlan
from energon_prep.samples import EncodedSample, Reject
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.shards.writer import ShardWriter
from energon_prep.storage import Storage

_UNWRITTEN = 1  #: windows encoded and not yet written, at most, while the next is encoded


def encode_shards(
    shards: Iterable[ShardPlan], stations: Stations, *, storage: Storage, pool: Executor, ahead: Ahead, counts: Counts
) -> Iterator[LedgerEntry]:
    """Encode shard after shard and publish each."""
    ours, to_read = itertools.tee(shards)
    pending = itertools.chain.from_iterable(number_samples(shard, stations.source) for shard in to_read)
    outcomes = decode_ahead(pending, functools.partial(decode_one, stations=stations), pool=pool, ahead=ahead)
    writing = _Writing(stations, storage=storage, counts=counts)
    started = time.perf_counter()
    try:
        for piece in _take_turns(ours, outcomes, stations):
            writing.submit(piece, list(add_texts(piece.window, stations)))
            give_back()
            yield from writing.published(most_left=_UNWRITTEN)
        yield from writing.published(most_left=0)
    finally:
        writing.close()
        stations.profile.seconds += time.perf_counter() - started


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """A window on its way."""

    shard: ShardPlan
    last: bool  #: of its shard
    window: LatentWindow


def _take_turns(
    shards: Iterable[ShardPlan], outcomes: Iterator[Clips | Reject], stations: Stations
) -> Iterator[_Piece]:
    """Windows with their latents, when it is the text encoders' turn: after each one, or after a group of them."""
    group: list[_Piece] = []
    for shard in shards:
        for start in range(0, shard.num_samples, stations.window):
            stations.turns.begin("visual")
            end = start + stations.window
            window = encode_pixels(itertools.islice(outcomes, min(end, shard.num_samples) - start), stations)
            group.append(_Piece(shard=shard, last=end >= shard.num_samples, window=window))
            if not stations.turns.taken or sum(piece.window.num_bytes for piece in group) >= GROUP_BYTES:
                stations.turns.begin("text")
                yield from group
                group = []
    if group:
        stations.turns.begin("text")
        yield from group


class _Writing:
    """The thread that serialises and writes, in order."""

    def __init__(self, stations: Stations, *, storage: Storage, counts: Counts) -> None:
        self._stations = stations
        self._storage = storage
        self._counts = counts
        self._pool = start_pool(1, "write")
        self._tasks: deque[Future[LedgerEntry | None]] = deque()
        self._unfinished: deque[ShardWriter] = deque()  #: the last is the one that takes what is submitted
        self._begun = False

    def submit(self, piece: _Piece, outcomes: list[list[EncodedSample] | Reject]) -> None:
        if not self._begun:
            shard = piece.shard
            self._unfinished.append(ShardWriter(self._storage, index=shard.index, num_planned=shard.num_samples))
        writer = self._unfinished[-1]
        self._tasks.append(self._pool.submit(write_window, outcomes, self._stations, writer, self._counts))
        if piece.last:
            halved = dict(self._stations.halving.limits)
            self._tasks.append(self._pool.submit(writer.finish, halved=halved))
        self._begun = not piece.last

    def published(self, *, most_left: int) -> Iterator[LedgerEntry]:
        """Wait until at most so many tasks are left; give out the shards that were published by them."""
        while len(self._tasks) > most_left:
            with self._stations.profile.waiting("write"):
                entry = self._tasks.popleft().result()
            if entry is not None:
                self._unfinished.popleft()
                yield entry

    def close(self) -> None:
        """Come to rest; what was not published is forgotten."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for writer in self._unfinished:
            writer.discard()
