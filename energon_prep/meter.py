"""How fast samples are encoded, and so when the rest will be."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

#: Seconds that a rate is taken over, at least ...
_SPAN = 300.0
#: ... and windows of every worker: of fewer, the one that is half encoded would make the rate.
_WINDOWS = 8


class Meter:
    """The rate of this run, over the last minutes.

    Progress is counted as batches are encoded. The rate is taken from whole windows alone: within
    one, pixels come before texts, and either may be ten times as fast as the other.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._partial = 0.0  #: samples' worth of windows that are not encoded yet
        self._whole = 0  #: samples of encoded windows
        self._num_workers = 1
        #: (seconds, samples of encoded windows): where the span begins, and each window since
        self._marks: deque[tuple[float, int]] = deque()
        self._started: float | None = None

    def start(self, num_workers: int = 1) -> None:
        """The first batch is on its way: models are loaded and the plan is written."""
        self._started = self._clock()
        self._num_workers = num_workers
        self._marks.append((self._started, 0))

    def add_encoded(self, samples: float) -> None:
        """A batch: each encoder does its share of a sample."""
        self._partial += samples

    def add_window(self, num_samples: int, num_encoded: int) -> None:
        """All of a window, of which so many were counted by batches: the rest are rejects."""
        self._whole += num_samples
        self._partial = max(0.0, self._partial - num_encoded)
        now = self._clock()
        self._marks.append((now, self._whole))
        least = _WINDOWS * self._num_workers
        while len(self._marks) > least + 1 and self._marks[1][0] <= now - _SPAN:
            self._marks.popleft()

    @property
    def num_encoded(self) -> float:
        """Samples of this run, those in the middle of their window by their share."""
        return self._whole + self._partial

    @property
    def rate(self) -> float | None:
        """Samples per second; None before anything was encoded."""
        if self._started is None:
            return None
        now = self._clock()
        rounds = (len(self._marks) - 1) // self._num_workers
        if not rounds:
            since = now - self._started
            return self.num_encoded / since if self.num_encoded and since > 0 else None
        # Whole rounds: workers that begin together end their windows together, too.
        began, before = self._marks[-1 - rounds * self._num_workers]
        ended, after = self._marks[-1]
        # A round that takes longer than those before it shows before it is through.
        ended = max(ended, now - (ended - began) / rounds)
        return (after - before) / (ended - began) if ended > began else None

    def seconds_left(self, num_left: float) -> float | None:
        """Until so many more samples are encoded, at this rate."""
        rate = self.rate
        return num_left / rate if rate else None
