"""Plan -> windows of pending samples, whose bytes are not read yet."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from energon_prep.pipeline.window import PendingWindow
from energon_prep.plan.shards import ShardPlan
from energon_prep.samples import PendingSample
from energon_prep.sources.base import Source


def read(shards: Iterable[ShardPlan], source: Source, *, window: int) -> Iterator[PendingWindow]:
    """Cut each shard into windows of at most so many samples."""
    for shard in shards:
        samples = number_samples(shard, source)
        for start in range(0, shard.num_samples, window):
            num = min(window, shard.num_samples - start)
            is_last = start + num == shard.num_samples
            # The last one takes all that is left, so that a source that gives too many is found
            # out.
            of_window = samples if is_last else itertools.islice(samples, num)
            yield PendingWindow(shard=shard, is_last=is_last, num_samples=num, samples=of_window)


def number_samples(shard: ShardPlan, source: Source) -> Iterator[tuple[int, PendingSample]]:
    """The shard's samples with their serial numbers."""
    samples = itertools.chain.from_iterable(source.read(piece) for piece in shard.pieces)
    return zip(
        range(shard.first_serial, shard.first_serial + shard.num_samples), samples, strict=True
    )
