"""The order of a plan: as listed or shuffled by a seed, and drawn for train, val and test."""

from __future__ import annotations

import hashlib
import itertools
import json
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from energon_prep.errors import PrepError
from energon_prep.sources.base import Beside, Entry
from energon_prep.splits import SPLITS, Ratio, apportion


class Listed(NamedTuple):
    """An entry and its place in the source's listing, from 0."""

    place: int
    entry: Entry


def in_parts(
    entries: Iterable[Entry], *, limit: int | None, shuffle: int | None, split: Ratio | None
) -> Iterator[tuple[str, Iterator[Listed]]]:
    """The parts that are cut into shards of their own, by the name of their split; "" where there
    is one part alone.

    Whatever the order of the listing, the same samples come out in the same order: they are sorted
    by a hash of the seed and their own place. The first of them are for train, the next for val,
    the last for test; without ``shuffle`` each part then has the listing's order again.
    """
    listed: Iterator[Listed] = (Listed(place, entry) for place, entry in enumerate(entries))
    asking = asking_shares(split)
    if shuffle is None:
        listed = itertools.islice(listed, limit)
        if len(asking) == 1:
            yield from ((name, listed) for name in asking)
            return
    with tempfile.TemporaryFile() as file:
        spool = Spool(file, listed, seed=shuffle or 0)
        order = np.argsort(np.frombuffer(spool.hashes, np.uint64), kind="stable")[:limit]
        if len(order) < len(asking):
            raise PrepError(
                f"{len(order)} samples are too few for a split of {len(asking)} shares: give "
                "--split 1,0,0"
            )
        start = 0
        for name, count in zip(asking, apportion(len(order), [*asking.values()]), strict=True):
            places = order[start : start + count]
            start += count
            yield name, spool.read(places if shuffle is not None else np.sort(places))


def asking_shares(split: Ratio | None) -> dict[str, float]:
    """The shares of the splits that ask for one; "" where there is one part alone."""
    shares = {name: share for name, share in zip(SPLITS, split or (), strict=False) if share}
    return shares or {"": 1.0}


class Spool:
    """A listing on disk: ten million entries take 16 bytes each in memory."""

    def __init__(self, file: BinaryIO, listed: Iterable[Listed], *, seed: int) -> None:
        self._file = file
        self._offsets = array("Q")
        self.hashes = array("Q")
        offset = 0
        for _, entry in listed:
            line = json.dumps(_fields(entry)).encode("ascii") + b"\n"
            self._file.write(line)
            self._offsets.append(offset)
            self.hashes.append(place_hash(seed, entry.path, entry.start))
            offset += len(line)
        self._file.flush()

    def read(self, places: Iterable[int]) -> Iterator[Listed]:
        for place in map(int, places):
            self._file.seek(self._offsets[place])
            path, start, size, mtime_ns, beside = json.loads(self._file.readline())
            files = tuple(Beside(*file) for file in beside)
            yield Listed(place, Entry(path, start, size, mtime_ns, files))


def _fields(entry: Entry) -> list[Any]:
    return [entry.path, entry.start, entry.size, entry.mtime_ns, entry.beside]


def place_hash(seed: int, path: str, start: int) -> int:
    name = f"{seed}\0{path}\0{start}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big")
