"""Decides over a source that is not as it was when its destination was begun: go on, refuse, or
make the changed shards again.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from energon_prep.errors import PrepError
from energon_prep.pipeline.read import number_samples, read_again
from energon_prep.plan.changes import Changes, place_of
from energon_prep.plan.shards import ShardPlan
from energon_prep.shards.ledger import LedgerEntry, content_digest, media_digest
from energon_prep.sources.base import Source

T = TypeVar("T")

log = logging.getLogger(__name__)

_WAYS_ON = (
    "Restore the source, write to another destination, start over with --overwrite, or make the "
    "changed shards again with --update"
)
_NO_UPDATE = (
    "These are not the same samples in the same places, so --update and --extend cannot be used: "
    "restore the source, write to another destination, or start over with --overwrite"
)
_GROWN = (
    "Plan what is new behind what is there, of which finished shards stay as they are, with "
    "--extend; or take it out of the source, write to another destination, or start over with "
    "--overwrite"
)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Over the finished shards of a source that may have changed."""

    remake: set[int]  #: by index, those that were made of something else
    renewed: list[LedgerEntry]  #: of those whose media files have other times and the same contents


def decide(
    changes: Changes,
    plan: Callable[[], Iterator[ShardPlan]],
    done: Mapping[int, LedgerEntry],
    source: Source,
    *,
    is_moved: bool,
    update: bool,
    extend: bool,
    workers: int,
) -> Decision:
    """Which finished shards are to be made again because what they were made of has changed.

    Where the files' times alone differ, or the source lies elsewhere (``is_moved``), what is read
    of them again decides; so it does where a table names media of another size or time. ``plan`` is
    that of the same samples as they lie now. Raises PrepError for samples that are gone, for
    changes unless ``update`` is asked for, and for new samples unless ``extend`` is.
    """
    if changes.num_gone:
        raise _other_source(
            f"{counted(changes.num_gone, 'sample')} of those planned {_are(changes.num_gone)} not "
            f"where they were; the first: {changes.first_gone}",
            _NO_UPDATE,
        )
    if changes.num_new and not extend:
        raise _other_source(
            f"it has grown by {counted(changes.num_new, 'sample')}; the first: {changes.first_new}",
            _GROWN,
        )
    if changes.resized and not update:
        raise _refusal(len(changes.resized), changes.num_samples, changes.first, _WAYS_ON)
    suspects = changes.resized | (set(done) if is_moved else changes.touched)
    suspects &= done.keys()
    # What could not be read has another state once it can: that is for --retry-rejects.
    with_media = {i for i, entry in done.items() if entry.media and not entry.num_unread} - suspects
    states = _in_parallel(partial(_look_at_media, source=source), plan, with_media, workers)
    suspects |= {shard.index for shard, media in states if media != done[shard.index].media}
    if not suspects:
        return Decision(remake=set(), renewed=[])
    log.warning(
        "read again, to compare their contents: %d finished shards whose files have other times or "
        "sizes, or lie elsewhere",
        len(suspects),
    )
    other: list[ShardPlan] = []
    renewed = []
    for shard, contents in _in_parallel(
        partial(read_again, source=source), plan, suspects, workers
    ):
        entry = done[shard.index]
        media = media_digest([content.state for content in contents])
        if content_digest(contents) != entry.content:
            other.append(shard)
        elif media != entry.media:
            renewed.append(replace(entry, media=media))
    _tell(other, update=update)
    return Decision(remake={shard.index for shard in other}, renewed=renewed)


def _tell(other: Sequence[ShardPlan], *, update: bool) -> None:
    """Raises PrepError for shards of other contents, unless they may be made again."""
    if not other:
        log.warning("their contents are the same")
        return
    if not update:
        num_samples = sum(shard.num_samples for shard in other)
        first = f"{place_of(other[0])} has other contents"
        raise _refusal(len(other), num_samples, first, _WAYS_ON)
    log.warning("made again: %d finished shards, whose contents have changed", len(other))


def _in_parallel(
    look: Callable[[ShardPlan], T],
    plan: Callable[[], Iterator[ShardPlan]],
    indexes: Collection[int],
    workers: int,
) -> Iterator[tuple[ShardPlan, T]]:
    """The shards of ``indexes``, in order, each with what ``look`` gives of it."""
    if not indexes:
        return
    shards = (shard for shard in plan() if shard.index in indexes)
    with ThreadPoolExecutor(workers) as pool:
        while some := list(itertools.islice(shards, workers)):
            yield from zip(some, pool.map(look, some), strict=True)


def _look_at_media(shard: ShardPlan, source: Source) -> str:
    return media_digest([sample.state() for _, sample in number_samples(shard, source)])


def _refusal(num_shards: int, num_samples: int, first: str, ways_on: str) -> PrepError:
    changed = f"{counted(num_shards, 'shard')} of {num_samples} samples changed; the first: {first}"
    return _other_source(changed, ways_on)


def _other_source(what: str, ways_on: str) -> PrepError:
    return PrepError(f"the source is not what this destination was begun with: {what}. {ways_on}")


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
