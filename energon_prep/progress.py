"""The one progress line: a bar in a terminal or a notebook, now and then a line in a log."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from energon_prep.meter import Meter

_LONG = 5.0  #: seconds between the lines of a log, at least, and before the first
_SILENCE = 60.0  #: seconds after which it gets one, whatever happens


@dataclass(frozen=True, kw_only=True)
class State:
    """How far something is."""

    done: int
    total: int
    rate: float | None = None  #: of this run, per second
    seconds_left: float | None = None
    words: str = ""  #: what else there is to say


Show = Callable[[State], None]


@contextmanager
def shown(what: str, asked: bool | None, *, unit: str) -> Iterator[Show | None]:
    """Show how far ``what`` is, on stderr, if ``asked``; where nothing is said, in a notebook."""
    in_notebook = _in_notebook()
    if not (in_notebook if asked is None else asked):
        yield None
    elif sys.stderr.isatty() if not in_notebook else _has_widgets():
        with _bar(what) as show:
            yield show
    else:
        with closing(_Lines(what, unit)) as lines:
            yield lines


@contextmanager
def counted(
    what: str, progress: bool | Callable[[int, int], None] | None
) -> Iterator[Callable[[int, int], None] | None]:
    """A function of the user's that takes shards done and in all, or a bar of ours where one is to
    be shown.
    """
    if callable(progress):
        yield progress
        return
    with shown(what, progress, unit="shards") as show:
        if show is None:
            yield None
            return
        meter = Meter()
        meter.start()

        def tell(done: int, total: int) -> None:
            meter.add_window(done - int(meter.num_encoded), 0)
            left = meter.seconds_left(total - done)
            show(State(done=done, total=total, rate=meter.rate, seconds_left=left))

        yield tell


def in_words(state: State) -> tuple[str, str]:
    """The rate, and the time left with the time of day when it will be over."""
    rate = "" if state.rate is None else f"{state.rate:.{1 if state.rate >= 1 else 3}f}/s"
    if state.seconds_left is None:
        return rate, ""
    minutes, seconds = divmod(round(state.seconds_left), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    left = f"{hours}:{minutes:02}:{seconds:02} left"
    if state.seconds_left < 60:
        return rate, left
    end = time.localtime(time.time() + state.seconds_left)
    if days:
        return rate, f"{days} d {left}, until {time.strftime('%d %b %H:%M', end)}"
    return rate, f"{left}, until {time.strftime('%H:%M', end)}"


@contextmanager
def _bar(what: str) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[words]}"),
    )
    bar = Progress(*columns, console=Console(stderr=True))
    task = bar.add_task(what, total=None, words="")

    def show(state: State) -> None:
        bar.start()  # not before there is something to be shown
        words = "  ".join(filter(None, (*in_words(state), state.words)))
        bar.update(task, total=state.total, completed=state.done, words=words)

    try:
        yield show
    finally:
        bar.stop()


class _Lines:
    """For logs: a line at each tenth of the way, and every minute, where the way is long."""

    def __init__(self, what: str, unit: str) -> None:
        self._what = what
        self._unit = unit
        self._started = time.monotonic()
        self._tenth = 0
        self._state: State | None = None
        self._lock = threading.Lock()
        self._told = self._started
        self._over = threading.Event()
        self._timer = threading.Thread(target=self._break_silence, daemon=True, name="progress")
        self._timer.start()

    def __call__(self, state: State) -> None:
        self._state = state
        tenth = 10 * state.done // max(1, state.total)
        if tenth > self._tenth and state.done and time.monotonic() - self._told > _LONG:
            self._tenth = tenth
            self._tell()

    def close(self) -> None:
        self._over.set()
        self._timer.join()

    def _break_silence(self) -> None:
        while not self._over.wait(max(0.0, self._told + _SILENCE - time.monotonic())):
            if time.monotonic() - self._told >= _SILENCE:
                self._tell()

    def _tell(self) -> None:
        with self._lock:
            self._told = time.monotonic()
            state = self._state
            if state is None:
                told = f"nothing done yet, {self._told - self._started:.0f} s"
            else:
                counts = f"{state.done} of {state.total} {self._unit}"
                told = ", ".join(filter(None, (counts, *in_words(state), state.words)))
            sys.stderr.write(f"{self._what}: {told}\n")


def _in_notebook() -> bool:
    """Whether this process shows what it says in Jupyter, Colab or the like."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


def _has_widgets() -> bool:
    """rich draws its bar in a notebook with these."""
    return importlib.util.find_spec("ipywidgets") is not None
