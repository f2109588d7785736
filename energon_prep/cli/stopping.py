"""The command line's Ctrl-C and SIGTERM, which Slurm, systemd and Docker send some time before they
kill.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_TWICE = 1.0  #: seconds within which a launcher sends the same to the group and to the process


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """The first signal ends the run in order: what is half-written is removed, and the exit code
    is 1. A later one ends the process at once, whatever a mount that hangs may hold; the next run
    clears up.
    """
    if threading.current_thread() is not threading.main_thread():
        # signals are not for a thread to take
        yield
        return
    first: list[float] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        if not first:
            first.append(time.monotonic())
            _say("stopping; once more, and it ends at once\n")
            raise KeyboardInterrupt
        if time.monotonic() - first[0] > _TWICE:
            for child in multiprocessing.active_children():
                child.kill()
            _say("ended at once: what is finished is kept, the same command goes on\n")
            os._exit(1)

    before = [signal.signal(number, stop) for number in _SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(number, handler)


def _say(words: str) -> None:
    with contextlib.suppress(OSError):  # nobody may listen any more
        os.write(2, words.encode())
