"""The only place where work is cut: a source's samples, in order, become shards of equal size.

The plan depends on the source and on the user's options alone, never on who will do the work. It is
written whole before work begins:

    DST/.energon-prep/plan.jsonl    one ShardPlan a line
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from energon_prep.errors import PrepError
from energon_prep.layout import PLAN
from energon_prep.plan.order import Listed, in_parts
from energon_prep.sources.account import Account
from energon_prep.sources.base import Beside, Entry, Piece, Source
from energon_prep.splits import SPLITS, Ratio
from energon_prep.storage import Storage


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """What one shard will be made of: the unit of work, of resume and of distribution."""

    index: int
    first_serial: int  #: of its first sample in the whole dataset
    pieces: tuple[Piece, ...]
    digest: str  #: of its entries and the sizes of their files, so that a changed source shows
    split: str = ""  #: one of SPLITS where the plan was cut for shares, else ""

    @property
    def num_samples(self) -> int:
        return sum(piece.count for piece in self.pieces)


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How a listing becomes shards; part of a run's identity."""

    samples_per_shard: int
    limit: int | None = None  #: the first of the listing, or with ``shuffle`` of the shuffled order
    shuffle: int | None = None  #: seed of the whole order; None: the listing's own
    #: Shares of train, val and test, each of which gets shards of its own. Which samples are whose
    #: is drawn.
    split: Ratio | None = None


@dataclass(kw_only=True)
class PlanSummary:
    num_shards: int = 0
    num_samples: int = 0
    split: dict[str, int]  #: samples by split; empty where the plan was not cut for shares

    def add(self, shard: ShardPlan) -> None:
        self.num_shards += 1
        self.num_samples += shard.num_samples
        if shard.split:
            self.split[shard.split] = self.split.get(shard.split, 0) + shard.num_samples


def make_plan(source: Source, cut: Cut, account: Account | None = None) -> Iterator[ShardPlan]:
    """Cut the source's listing: the last shard of a part takes what is left, nothing is dropped.

    Streaming where neither order nor shares are asked for. ``account`` is complete when all shards
    are given out, unless ``cut.limit`` ended the listing early. Raises PrepError if it then lacks
    something that was found.
    """
    entries = accounted(source, Account() if account is None else account)
    parts = in_parts(entries, limit=cut.limit, shuffle=cut.shuffle, split=cut.split)
    yield from cut_shards(parts, cut.samples_per_shard)


def accounted(source: Source, account: Account) -> Iterator[Entry]:
    """The source's listing, held against its account when it ends."""
    yield from source.list(account)
    account.check()


def cut_shards(
    parts: Iterable[tuple[str, Iterator[Listed]]],
    samples_per_shard: int,
    *,
    index: int = 0,
    serial: int = 0,
) -> Iterator[ShardPlan]:
    """Cut each part, by the name of its split, into shards of its own, which are numbered from
    ``index`` and ``serial`` on.
    """
    for name, part in parts:
        while listed := list(itertools.islice(part, samples_per_shard)):
            pieces = tuple(join_entries(listed))
            yield plan_shard(listed, pieces, index=index, first_serial=serial, split=name)
            index += 1
            serial += len(listed)


def plan_shard(
    listed: Sequence[Listed],
    pieces: tuple[Piece, ...],
    *,
    index: int,
    first_serial: int,
    split: str,
) -> ShardPlan:
    """A shard of the samples that are ``listed``, which ``pieces`` take together."""
    return ShardPlan(
        index=index,
        first_serial=first_serial,
        pieces=pieces,
        digest=_digest(map(_sizes, listed)),
        split=split,
    )


def join_entries(listed: Iterable[Listed]) -> Iterator[Piece]:
    """Entries of one file that follow each other in the listing become one piece."""
    groups = itertools.groupby(
        enumerate(listed), key=lambda item: (item[1].entry.path, item[1].place - item[0])
    )
    for _, neighbours in groups:
        yield join([item for _, item in neighbours])


def join(neighbours: Sequence[Listed]) -> Piece:
    """Entries of one file, which follow each other, as one piece."""
    entry = neighbours[0].entry
    return Piece(entry.path, entry.start, len(neighbours), entry.size, entry.mtime_ns, entry.beside)


def write_plan(
    storage: Storage, shards: Iterable[ShardPlan], noted: Callable[[ShardPlan], None]
) -> PlanSummary:
    """Store the whole plan, or nothing; ``noted`` is called for each shard."""
    summary = PlanSummary(split={})
    publication = storage.create(PLAN)
    try:
        for shard in shards:
            publication.file.write(to_line(shard))
            summary.add(shard)
            noted(shard)
        if summary.num_shards:
            publication.publish()
    finally:
        publication.discard()
    return summary


def read_plan(storage: Storage) -> Iterator[ShardPlan]:
    """The stored plan. Raises PrepError if it is damaged."""
    with storage.open(PLAN) as file:
        yield from map(from_line, file)


def from_line(line: bytes) -> ShardPlan:
    """A line of the stored plan. Raises PrepError if it is damaged."""
    try:
        fields = json.loads(line)
        fields["pieces"] = _pieces(fields["pieces"])
        plan = ShardPlan(**fields)
        if not plan.pieces or type(plan.index) is not int or type(plan.first_serial) is not int:
            raise ValueError("a number is missing")
        if plan.split not in ("", *SPLITS):
            raise ValueError(f"its split is {plan.split!r}")
        return plan
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PrepError(
            f"{PLAN} is damaged ({type(error).__name__}: {error}): run energon-prep verify "
            "--mark-bad, then the same encode again"
        ) from error


def _pieces(rows: Iterable[list[Any]]) -> tuple[Piece, ...]:
    pieces = []
    for path, start, count, size, mtime_ns, files in rows:
        beside = tuple(Beside(*file) for file in files)
        known = [number for number in (size, mtime_ns) if number is not None]
        numbers = [start, count, *known, *(number for file in beside for number in file[1:])]
        if type(path) is not str or any(type(number) is not int for number in numbers):
            raise ValueError("a number is missing")
        pieces.append(Piece(path, start, count, size, mtime_ns, beside))
    return tuple(pieces)


def to_line(shard: ShardPlan) -> bytes:
    pieces = [
        [piece.path, piece.start, piece.count, piece.size, piece.mtime_ns, piece.beside]
        for piece in shard.pieces
    ]
    fields = {
        "index": shard.index,
        "first_serial": shard.first_serial,
        "pieces": pieces,
        "digest": shard.digest,
        "split": shard.split,
    }
    return json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"


def _digest(lines: Iterable[str]) -> str:
    text = "".join(lines).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:16]


def _sizes(item: Listed) -> str:
    entry = item.entry
    beside = "".join(f"\0{file.path}\0{file.size}" for file in entry.beside)
    return f"{entry.path}\0{entry.start}\0{entry.size}{beside}\n"
