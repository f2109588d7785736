"""Where a run spends its time, and which station the others wait for."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

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
        self.seconds += other["seconds"]

    def to_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "busy": dict(self.busy), "waits": dict(self.waits)}

    def limit(self) -> str:
        """The station that limits the run: read, decode, visual, text or write; "" if nothing was
        done.
        """
        if not self.busy:
            return ""
        name, waited = max(self.waits.items(), key=lambda item: item[1], default=("", 0.0))
        if waited > _WAITED * self.seconds:
            return "read" if name == "decode" and self.busy["read"] > self.busy["decode"] else name
        return max(("visual", "text"), key=lambda station: self.busy[station])

    @contextmanager
    def _timed(self, counter: Counter[str], name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                counter[name] += time.perf_counter() - started  # type: ignore[assignment]
