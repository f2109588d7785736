"""The one progress line: a bar in a terminal or a notebook, now and then a line in a log."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Called with what is done, what there is in all, and a few words more.
Show = Callable[[int, int, str], None]

_LONG = 5.0  #: seconds after which a log gets lines


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
        yield _Lines(what, unit)


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
        yield None if show is None else lambda done, total: show(done, total, "")


@contextmanager
def _bar(what: str) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}"),
    )
    bar = Progress(*columns, console=Console(stderr=True))
    task = bar.add_task(what, total=None, rate="", words="")

    def show(done: int, total: int, words: str = "") -> None:
        bar.start()  # not before there is something to be shown
        speed = bar.tasks[0].speed
        rate = f"{speed:.1f}/s" if speed else ""
        bar.update(task, total=total, completed=done, rate=rate, words=words)

    try:
        yield show
    finally:
        bar.stop()


class _Lines:
    """For logs: one line at each tenth of the way, where the way is long."""

    def __init__(self, what: str, unit: str) -> None:
        self._what = what
        self._unit = unit
        self._started = time.monotonic()
        self._first: tuple[float, int] | None = None  #: seconds, and what was done then
        self._told = 0

    def __call__(self, done: int, total: int, words: str = "") -> None:
        seconds = time.monotonic() - self._started
        if self._first is None and done:
            self._first = seconds, done  # of which an earlier run may have done the most
        tenth = 10 * done // max(1, total)
        if self._first is not None and tenth > self._told and seconds > _LONG:
            self._told = tenth
            before, had = self._first
            fresh = max(1, done - had)
            left = f"{(seconds - before) * (total - done) / fresh:.0f} s left"
            told = ", ".join(filter(None, (f"{done} of {total} {self._unit}", left, words)))
            sys.stderr.write(f"{self._what}: {told}\n")


def _in_notebook() -> bool:
    """Whether this process shows what it says in Jupyter, Colab or the like."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


def _has_widgets() -> bool:
    """rich draws its bar in a notebook with these."""
    return importlib.util.find_spec("ipywidgets") is not None
