"""What a run counts of its workers: what became of every sample, and where the time went."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from energon_prep.errors import PrepError, UsageError
from energon_prep.meter import Meter
from energon_prep.progress import State
from energon_prep.samples import Reject
from energon_prep.shards.ledger import LedgerEntry

#: A percentage says nothing of a handful of samples: before the end it is judged from here on.
_ENOUGH = 200
#: Without a limit of the user's, a run that has rejected this many and written none is going wrong.
_HOPELESS = 1000


@dataclass(frozen=True)
class RejectLimit:
    """``--max-rejects``: a number of samples, or a percentage of those seen. Filtered samples do
    not count.
    """

    count: int | None = None
    percent: float | None = None

    @staticmethod
    def parse(limit: int | str | None) -> RejectLimit:
        if limit is None:
            return RejectLimit()
        text = str(limit)
        number, is_percent = text.strip().removesuffix("%"), text.strip().endswith("%")
        try:
            value = float(number) if is_percent else int(number)
        except ValueError:
            value = -1
        if not value >= 0 or (is_percent and value > 100):
            raise UsageError(
                f"--max-rejects {text!r}: give a number of samples (100) or a percentage (2%)"
            )
        return RejectLimit(percent=value) if is_percent else RejectLimit(count=int(value))


class Counts(Protocol):
    """What a worker reports: of every batch, of every window, and of every sample at its end."""

    def add_encoded(self, samples: float) -> None: ...

    def add_window(self, num_samples: int, num_encoded: int) -> None: ...

    def add_written(self, notes: Mapping[str, int]) -> None: ...

    def add_reject(self, reject: Reject) -> None: ...


@dataclass
class Tally:
    """Samples written and rejected so far, earlier runs of the same command included."""

    num_planned: int = 0
    limit: RejectLimit = RejectLimit()
    num_written: int = 0
    num_resumed: int = 0  #: of the written and rejected, those of earlier runs
    rejects: Counter[str] = field(default_factory=Counter)  #: "stage: reason" -> samples
    examples: dict[str, str] = field(default_factory=dict)  #: of each reason, of this run
    #: what was done to written samples -> how often
    notes: Counter[str] = field(default_factory=Counter)
    #: called after every batch and every sample, and every shard planned
    on_change: Callable[[Tally], None] | None = None
    meter: Meter = field(default_factory=Meter)

    @property
    def num_rejected(self) -> int:
        return sum(self.rejects.values())

    @property
    def num_done(self) -> int:
        return self.num_written + self.num_rejected

    def add_planned(self, num_samples: int) -> None:
        self.num_planned += num_samples
        self._changed()

    def add_finished(self, entry: LedgerEntry) -> None:
        """Take over a shard of an earlier run."""
        self.num_written += entry.num_written
        self.notes.update(entry.notes)
        self.num_resumed += entry.num_planned
        self.rejects.update(entry.rejects)

    def add_written(self, notes: Mapping[str, int]) -> None:
        self.num_written += 1
        self.notes.update(notes)
        self._changed()

    def add_reject(self, reject: Reject) -> None:
        reason = f"{reject.stage}: {reject.reason}"
        self.rejects[reason] += 1
        if reject.detail:
            self.examples.setdefault(reason, f"{reject.key}: {reject.detail}")
        self._changed()
        self._check(final=False)

    def finish(self) -> None:
        """Judge the whole run. Raises PrepError if samples are missing, or too many were
        rejected.
        """
        if self.num_done != self.num_planned:
            raise PrepError(
                f"{self.num_planned} samples went in, {self.num_written} were written and "
                f"{self.num_rejected} rejected: some are unaccounted for. Please report this"
            )
        self._check(final=True)
        if not self.num_written:
            raise PrepError(
                f"no sample was written: all {self.num_rejected} were rejected: "
                f"{top(self.rejects, self.examples)}"
            )

    def add_encoded(self, samples: float) -> None:
        """A batch, in samples' worth of work."""
        self.meter.add_encoded(samples)
        self._changed()

    def add_window(self, num_samples: int, num_encoded: int) -> None:
        """A window whose samples are encoded, but for its rejects."""
        self.meter.add_window(num_samples, num_encoded)
        self._changed()

    def state(self) -> State:
        """How far the run is, with the samples whose windows are not written yet."""
        done = max(self.num_done, self.num_resumed + int(self.meter.num_encoded))
        left = self.num_planned - self.num_resumed - self.meter.num_encoded
        return State(
            done=done,
            total=self.num_planned,
            rate=self.meter.rate,
            seconds_left=self.meter.seconds_left(max(0.0, left)),
            words=f"{self.num_rejected} rejected" if self.num_rejected else "",
        )

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change(self)

    def _check(self, *, final: bool) -> None:
        faults = sum(
            number for reason, number in self.rejects.items() if not reason.startswith("filter:")
        )
        limit = self.limit
        over = limit.count is not None and faults > limit.count
        if limit.percent is not None and (final or self.num_done >= _ENOUGH):
            over = over or 100 * faults > limit.percent * self.num_done
        if limit == RejectLimit() and faults >= _HOPELESS and not self.num_written:
            over = True
        if over:
            raise PrepError(
                f"stopped after {faults} rejects in {self.num_done} samples: "
                f"{top(self.rejects, self.examples)}. "
                "Mend the source, or allow more with --max-rejects; finished shards are kept"
            )


def top(rejects: Mapping[str, int], examples: Mapping[str, str], most: int = 3) -> str:
    """The commonest reasons in words, with what was found of the first."""
    ranked = sorted(rejects.items(), key=lambda item: (-item[1], item[0]))
    words = [f"{number} x {reason}" for reason, number in ranked[:most]]
    if ranked and ranked[0][0] in examples:
        words[0] += f" ({examples[ranked[0][0]]})"
    return ", ".join(words) + (", ..." if len(ranked) > most else "")


T = TypeVar("T")

#: share of the time that the models wait, from which what they wait for is the limit
_WAITED = 0.25


class Profile:
    """Seconds by station, and those in which the models waited; of all threads, and of all workers
    together.
    """

    def __init__(self) -> None:
        #: read, decode, visual, text, write -> seconds, summed over threads
        self.busy: Counter[str] = Counter()
        #: decode, write -> seconds that the models waited for it
        self.waits: Counter[str] = Counter()
        #: of decoding, the seconds in which it only waited for its share of memory
        self.waited_for_memory = 0.0
        self.seconds = 0.0  #: from begin to end, summed over workers
        self._lock = threading.Lock()

    def station(self, name: str) -> AbstractContextManager[None]:
        """Time what is done at a station; may be entered by several threads at once."""
        return self._timed(self.busy, name)

    def waiting(self, name: str) -> AbstractContextManager[None]:
        """Time how long the models wait for what ``name`` does."""
        return self._timed(self.waits, name)

    def waited_for(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """``items``; the time until each comes counts as waiting for ``name``."""
        iterator = iter(items)
        while True:
            with self.waiting(name):
                item = next(iterator, iterator)  # the iterator itself is the end's mark
            if item is iterator:
                return
            yield item  # type: ignore[misc]

    def merge(self, other: Mapping[str, Any]) -> None:
        """Add what another worker's ``to_dict`` gave."""
        self.busy.update(other["busy"])
        self.waits.update(other["waits"])
        self.waited_for_memory += other["waited_for_memory"]
        self.seconds += other["seconds"]

    def to_dict(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "busy": dict(self.busy),
            "waits": dict(self.waits),
            "waited_for_memory": self.waited_for_memory,
        }

    def limit(self) -> str:
        """The station that limits the run: read, decode, visual, text or write; memory, where
        decoding waited for that; "" if nothing was done.
        """
        if not self.busy:
            return ""
        name, waited = max(self.waits.items(), key=lambda item: item[1], default=("", 0.0))
        if waited > _WAITED * self.seconds:
            decoding = self.busy["decode"] - self.waited_for_memory
            if name == "decode" and self.busy["read"] > self.busy["decode"]:
                return "read"
            return "memory" if name == "decode" and self.waited_for_memory > decoding else name
        return max(("visual", "text"), key=lambda station: self.busy[station])

    @contextmanager
    def _timed(self, counter: Counter[str], name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                counter[name] += time.perf_counter() - started  # type: ignore[assignment]
