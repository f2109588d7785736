"""Decides over a source that is not as it was when its destination was begun: go on, refuse, or
make the changed shards again.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from energon_prep.errors import PrepError, SampleError
from energon_prep.pipeline.read import number_samples
from energon_prep.plan.changes import Changes, place_of
from energon_prep.plan.shards import ShardPlan
from energon_prep.samples import UNREAD
from energon_prep.shards.ledger import LedgerEntry, digest_of
from energon_prep.sources.base import Source

log = logging.getLogger(__name__)

_WAYS_ON = (
    "Restore the source, write to another destination, start over with --overwrite, or make the "
    "changed shards again with --update"
)
_NO_UPDATE = (
    "These are not the same samples in the same places, so --update cannot be used: restore the "
    "source, write to another destination, or start over with --overwrite"
)


def changed_shards(
    changes: Changes,
    plan: Iterator[ShardPlan],
    done: Mapping[int, LedgerEntry],
    source: Source,
    *,
    is_moved: bool,
    update: bool,
    workers: int,
) -> set[int]:
    """The finished shards that are to be made again because what they were made of has changed.

    Where the files' times alone differ, or the source lies elsewhere (``is_moved``), what is read
    of them again decides. ``plan`` is the new one. Raises PrepError for changes, unless ``update``
    is asked for and the samples are the same.
    """
    if changes.num_regrouped:
        raise _refusal(changes.num_shards, changes.num_samples, changes.first, _NO_UPDATE)
    if changes.resized and not update:
        raise _refusal(changes.num_shards, changes.num_samples, changes.first, _WAYS_ON)
    suspects = changes.resized | (set(done) if is_moved else changes.touched)
    suspects &= done.keys()
    if not suspects:
        return set()
    log.warning(
        "read again, to compare their contents: %d finished shards whose files have other times or "
        "sizes, or lie elsewhere",
        len(suspects),
    )
    other = _of_other_contents(plan, done, suspects, source, workers)
    if other and not update:
        num_samples = sum(shard.num_samples for shard in other)
        first = f"{place_of(other[0])} has other contents"
        raise _refusal(len(other), num_samples, first, _WAYS_ON)
    if other:
        log.warning(
            "made again: %d finished shards, whose contents have changed; so must their index be",
            len(other),
        )
    else:
        log.warning("their contents are the same")
    return {shard.index for shard in other}


def _of_other_contents(
    plan: Iterator[ShardPlan],
    done: Mapping[int, LedgerEntry],
    suspects: Collection[int],
    source: Source,
    workers: int,
) -> list[ShardPlan]:
    shards = (shard for shard in plan if shard.index in suspects)
    other: list[ShardPlan] = []
    with ThreadPoolExecutor(workers) as pool:
        while some := list(itertools.islice(shards, workers)):
            contents = pool.map(partial(_read_again, source=source), some)
            other += (
                shard
                for shard, content in zip(some, contents, strict=True)
                if content != done[shard.index].content
            )
    return other


def _read_again(shard: ShardPlan, source: Source) -> str:
    """What the ledger would have of the shard. Raises PrepError where the source fails."""
    contents = []
    for _, sample in number_samples(shard, source):
        try:
            contents.append(sample.load().digest())
        except SampleError:
            contents.append(UNREAD)
    return digest_of(contents)


def _refusal(num_shards: int, num_samples: int, first: str, ways_on: str) -> PrepError:
    shards = "1 shard" if num_shards == 1 else f"{num_shards} shards"
    return PrepError(
        "the source is not what this destination was begun with: "
        f"{shards} of {num_samples} samples changed; the first: {first}. {ways_on}"
    )
