"""The command line's SIGTERM: Slurm, systemd and Docker send it some time before they kill."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C: what is half-written is removed, and the exit code is 1."""
    if threading.current_thread() is not threading.main_thread():
        # signals are not for a thread to take
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    # a launcher may send it twice: the way out must not be cut short
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt
