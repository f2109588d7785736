"""Windows of encoded samples -> the target's parts, checked -> shards, in a thread beside the
models'.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future

from energon_prep.device.memory import give_back
from energon_prep.device.threads import start_pool
from energon_prep.errors import PrepError, SampleError
from energon_prep.pipeline.decode import to_reject
from energon_prep.pipeline.stations import Stations
from energon_prep.pipeline.tally import Counts
from energon_prep.pipeline.window import EncodedWindow
from energon_prep.samples import CAPTION_CUT, EncodedSample, Reject
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.shards.writer import ShardWriter
from energon_prep.storage import Storage
from energon_prep.targets.base import ContractError, Target
from energon_prep.targets.serialize import serialize

_UNWRITTEN = 1  #: windows encoded and not yet written, at most, while the next is encoded


def write(
    windows: Iterable[EncodedWindow], stations: Stations, *, storage: Storage, counts: Counts
) -> Iterator[LedgerEntry]:
    """Write the windows of each shard in order, and give out the ledger's entry of each that is
    published.
    """
    writing = _Writing(stations, storage=storage, counts=counts)
    try:
        for window in windows:
            writing.submit(window)
            del window  # its tensors are the writer's
            give_back()
            yield from writing.published(most_left=_UNWRITTEN)
        yield from writing.published(most_left=0)
    finally:
        writing.close()


def write_window(
    outcomes: Iterable[list[EncodedSample] | Reject],
    stations: Stations,
    writer: ShardWriter,
    counts: Counts,
) -> None:
    """Write the encoded samples of a window in order, and note the rejects."""
    with stations.profile.station("write"):
        for outcome in outcomes:
            _write(outcome, stations.target, writer, counts)


def require_readable(outcomes: Iterable[list[EncodedSample] | Reject]) -> None:
    """Raise PrepError if every one of several samples was rejected as it was read, filtered ones
    apart: rather than each of them the source is at fault. Nothing of the window is written then.
    """
    rejects: list[Reject] = []
    for outcome in outcomes:
        if not isinstance(outcome, Reject) or outcome.stage not in ("read", "filter"):
            return
        if outcome.stage == "read":
            rejects.append(outcome)
    if len(rejects) > 1:
        first = rejects[0]
        detail = f" ({first.detail})" if first.detail else ""
        raise PrepError(
            f"none of {len(rejects)} samples that follow each other could be read, the first is "
            f"{first.key}: {first.reason}{detail}. Is the source still there and whole? None of "
            "them is written off: mend it and run the same command again, or let them be rejects "
            "with --allow-unreadable; what is finished is kept"
        )


def _write(
    outcome: list[EncodedSample] | Reject, target: Target, writer: ShardWriter, counts: Counts
) -> None:
    """Lay the sample's clips out as the target wants them, check them, write them all; or note the
    reject.
    """
    if not isinstance(outcome, Reject):
        try:
            members = [(sample.info.clip, _parts(sample, target)) for sample in outcome]
        except SampleError as error:
            info = outcome[0].info
            outcome = to_reject(
                error,
                serial=info.serial,
                key=info.key,
                source=info.source,
                content=info.content,
            )
        else:
            info, notes = outcome[0].info, _notes(outcome)
            writer.write(info.serial, members, content=info.content, notes=notes)
            counts.add_written(notes)
            return
    writer.reject(outcome)
    counts.add_reject(outcome)


def _notes(samples: Sequence[EncodedSample]) -> dict[str, int]:
    """What one raw sample's part in the account is, besides that it was written."""
    notes = Counter(note for sample in samples for note in sample.info.notes)
    notes[CAPTION_CUT] += any(
        text.truncated for sample in samples for text in sample.texts.values()
    )
    return dict(+notes)


def _parts(sample: EncodedSample, target: Target) -> dict[str, bytes]:
    try:
        values = target.build(sample)
        target.check(values)
    except ContractError as error:
        raise SampleError("target", f"not what {target.name} reads", str(error)) from error
    return {**serialize(values), **sample.info.carried}


class _Writing:
    """The thread that serialises and writes, in order."""

    def __init__(self, stations: Stations, *, storage: Storage, counts: Counts) -> None:
        self._stations = stations
        self._storage = storage
        self._counts = counts
        self._pool = start_pool(1, "write")
        self._tasks: deque[Future[LedgerEntry | None]] = deque()
        #: the last is the one that takes what is submitted
        self._unfinished: deque[ShardWriter] = deque()
        self._begun = False

    def submit(self, window: EncodedWindow) -> None:
        if not self._stations.allow_unreadable:
            require_readable(window.outcomes)
        if not self._begun:
            shard = window.shard
            self._unfinished.append(
                ShardWriter(self._storage, index=shard.index, num_planned=shard.num_samples)
            )
        writer = self._unfinished[-1]
        self._tasks.append(
            self._pool.submit(write_window, window.outcomes, self._stations, writer, self._counts)
        )
        if window.is_last:
            halved = dict(self._stations.halving.limits)
            self._tasks.append(self._pool.submit(writer.finish, halved=halved))
        self._begun = not window.is_last

    def published(self, *, most_left: int) -> Iterator[LedgerEntry]:
        """Wait until at most so many tasks are left; give out the shards that were published by
        them.
        """
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
