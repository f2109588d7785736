"""Reads the samples of finished shards again, to compare them with what was read of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from energon_prep.errors import SampleError
from energon_prep.pipeline.read import number_samples
from energon_prep.plan.shards import ShardPlan
from energon_prep.samples import UNREAD, Content
from energon_prep.shards.ledger import content_digest, media_digest
from energon_prep.sources.base import Source

T = TypeVar("T")


class Again(NamedTuple):
    """What a source has of a shard's samples now."""

    content: str  #: to compare with ``LedgerEntry.content``
    media: str  #: to compare with ``LedgerEntry.media``
    fault: str  #: the first that is wrong with reading them, in words; "" if nothing is


def read_again(shard: ShardPlan, source: Source, unread: Collection[int]) -> Again:
    """``unread``: the numbers of samples that could not be read before, and are not looked at.
    Raises PrepError where the source fails.
    """
    contents, fault = [], ""
    for serial, sample in number_samples(shard, source):
        content = UNREAD
        if serial not in unread:
            content = Content(UNREAD.digest, sample.state())
            try:
                content = content._replace(digest=sample.load().digest())
            except SampleError as error:
                fault = fault or f"{sample.key}: {error}"
        contents.append(content)
    return Again(content_digest(contents), media_digest(contents), fault)


def look_at_media(shard: ShardPlan, source: Source, unread: Collection[int]) -> str:
    """To compare with ``LedgerEntry.media``, without reading any media; see ``read_again``."""
    contents = [
        UNREAD if serial in unread else Content(UNREAD.digest, sample.state())
        for serial, sample in number_samples(shard, source)
    ]
    return media_digest(contents)


def in_parallel(
    look: Callable[[ShardPlan], T],
    shards: Iterable[ShardPlan],
    indexes: Collection[int],
    workers: int,
) -> Iterator[tuple[ShardPlan, T]]:
    """Of ``shards`` those of ``indexes``, in order, each with what ``look`` gives of it."""
    wanted = (shard for shard in shards if shard.index in indexes)
    with ThreadPoolExecutor(workers) as pool:
        while some := list(itertools.islice(wanted, workers)):
            yield from zip(some, pool.map(look, some), strict=True)
