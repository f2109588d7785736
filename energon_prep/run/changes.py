"""Decides over a source that is not as it was when its destination was begun: go on, refuse, or
make the changed shards again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from energon_prep.errors import PrepError
from energon_prep.pipeline.again import Again, in_parallel, look_at_media, read_again
from energon_prep.plan.changes import Changes, place_of
from energon_prep.plan.shards import ShardPlan
from energon_prep.shards.ledger import LedgerEntry
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
class Finished:
    """The finished shards, and what they can be compared with."""

    entries: Mapping[int, LedgerEntry]  #: by index
    #: gives the numbers of a shard's samples that could not be read, which are not compared
    unread: Callable[[LedgerEntry], Collection[int]]
    plan: Callable[[], Iterator[ShardPlan]]  #: of the same samples as they lie now
    source: Source
    workers: int

    def of_other_media(self, indexes: Collection[int]) -> set[int]:
        """Those of which a table names media that have another size or time than when they were
        read.
        """
        named = {index for index in indexes if self.entries[index].media}

        def look(shard: ShardPlan) -> str:
            return look_at_media(shard, self.source, self.unread(self.entries[shard.index]))

        return {
            shard.index
            for shard, media in self._each(look, named)
            if media != self.entries[shard.index].media
        }

    def again(self, indexes: Collection[int]) -> Iterator[tuple[ShardPlan, Again]]:
        def read(shard: ShardPlan) -> Again:
            return read_again(shard, self.source, self.unread(self.entries[shard.index]))

        return self._each(read, indexes)

    def _each(
        self, look: Callable[[ShardPlan], T], indexes: Collection[int]
    ) -> Iterator[tuple[ShardPlan, T]]:
        return in_parallel(look, self.plan() if indexes else (), indexes, self.workers)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Over the finished shards of a source that may have changed."""

    remake: set[int]  #: by index, those that were made of something else
    renewed: list[LedgerEntry]  #: of those whose media files have other times and the same contents


def decide(
    changes: Changes, finished: Finished, *, is_moved: bool, update: bool, extend: bool
) -> Decision:
    """Which finished shards are to be made again because what they were made of has changed.

    Where the files' times alone differ, or the source lies elsewhere (``is_moved``), what is read
    of them again decides; so it does where a table names media of another size or time. Raises
    PrepError for samples that are gone, for changes unless ``update`` is asked for, and for new
    samples unless ``extend`` is.
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
    entries = finished.entries
    suspects = changes.resized | (set(entries) if is_moved else changes.touched)
    suspects &= entries.keys()
    suspects |= finished.of_other_media(entries.keys() - suspects)
    if not suspects:
        return Decision(remake=set(), renewed=[])
    log.warning(
        "read again, to compare their contents: %d finished shards whose files have other times or "
        "sizes, or lie elsewhere",
        len(suspects),
    )
    other: list[tuple[ShardPlan, Again]] = []
    renewed = []
    for shard, again in finished.again(suspects):
        entry = entries[shard.index]
        if again.content != entry.content:
            other.append((shard, again))
        elif again.media != entry.media:
            renewed.append(replace(entry, media=again.media))
    _tell(other, update=update)
    return Decision(remake={shard.index for shard, _ in other}, renewed=renewed)


def _tell(other: Sequence[tuple[ShardPlan, Again]], *, update: bool) -> None:
    """Raises PrepError for shards of other contents, unless they may be made again."""
    if not other:
        log.warning("their contents are the same")
        return
    if not update:
        num_samples = sum(shard.num_samples for shard, _ in other)
        (shard, again), *_ = other
        fault = f" ({again.fault})" if again.fault else ""
        first = f"{place_of(shard)} has other contents{fault}"
        raise _refusal(len(other), num_samples, first, _WAYS_ON)
    log.warning("made again: %d finished shards, whose contents have changed", len(other))


def _refusal(num_shards: int, num_samples: int, first: str, ways_on: str) -> PrepError:
    changed = f"{counted(num_shards, 'shard')} of {num_samples} samples changed; the first: {first}"
    return _other_source(changed, ways_on)


def _other_source(what: str, ways_on: str) -> PrepError:
    return PrepError(f"the source is not what this destination was begun with: {what}. {ways_on}")


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
