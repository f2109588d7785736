"""Digests of what was read of a shard's samples: whether a source still has the same content, where
its files have other times.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import Any

from energon_prep.errors import SampleError
from energon_prep.pipeline.read import number_samples
from energon_prep.plan.shards import ShardPlan
from energon_prep.samples import Media, RawSample
from energon_prep.sources.base import Source

#: Bytes at either end of a video in a file that are digested with its size: decoding need not read
#: all of it, and containers have their tables of frames at one of the ends.
_END = 2**20
_UNREAD = b"unread"


class Contents:
    """What was read of each sample until its shard is published; filled by the decode workers."""

    def __init__(self) -> None:
        self._digests: dict[int, bytes] = {}  #: by serial; a sample that cannot be read has none

    def note(self, serial: int, raw: RawSample) -> None:
        self._digests[serial] = _of_sample(raw)

    def take(self, shard: ShardPlan) -> str:
        """The digest of a shard, all of whose samples were read."""
        digest = hashlib.sha256()
        for serial in range(shard.first_serial, shard.first_serial + shard.num_samples):
            digest.update(self._digests.pop(serial, _UNREAD))
        return digest.hexdigest()[:32]


def read_contents(shard: ShardPlan, source: Source) -> str:
    """The digest that ``Contents`` has for a shard, from reading it again. Raises PrepError where
    the source fails.
    """
    contents = Contents()
    for serial, sample in number_samples(shard, source):
        with suppress(SampleError):
            contents.note(serial, sample.load())
    return contents.take(shard)


def _of_sample(raw: RawSample) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    # names, lengths and texts first, so that no two samples give the same bytes
    parts = {name: len(part) for name, part in raw.parts.items()}
    fields = [raw.key, raw.source, raw.captions, raw.metadata, raw.media.size, parts]
    digest.update(json.dumps(fields, default=repr).encode())
    for part in raw.parts.values():
        digest.update(part)
    _add_media(digest, raw.media)
    return digest.digest()


def _add_media(digest: Any, media: Media) -> None:
    if media.content is not None:
        digest.update(media.content)
        return
    # What cannot be read here is the decoder's to judge, which may not need it.
    with suppress(SampleError), media.open() as file:
        digest.update(file.read(_END))
        if media.size > _END:
            file.seek(max(_END, media.size - _END))
            digest.update(file.read(_END))
