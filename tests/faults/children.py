"""Runs the command line in forked processes, with encoders that need no model, and puts faults into
them.

A process that has imported everything forks for each trial: that takes milliseconds, not seconds.
Faults are put in by patching the child, so that the product has no hooks for them.
"""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from energon_prep.cli import main
from energon_prep.storage import guard

SMALL = (
    *("--vae", "tests.fakes:MeanVisual", "--model", "tests.fakes:HashText"),
    *("--resolution", "64", "--samples-per-shard", "6"),
    *("--torch-threads", "1", "--workers", "2", "--device", "cpu"),
)

Fault = Callable[[], None]


@dataclass(frozen=True)
class Done:
    """How a child ended."""

    code: int  #: negative: the signal that killed it
    output: str
    seconds: float


@dataclass(frozen=True)
class Child:
    pid: int
    log: Path
    started: float

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def wait(self) -> Done:
        _, status = os.waitpid(self.pid, 0)
        return Done(
            os.waitstatus_to_exitcode(status), self.log.read_text(), time.monotonic() - self.started
        )


def start(*args: object, log: Path, fault: Fault | None = None) -> Child:
    """Fork a child that runs ``energon-prep ARGS``; its output goes to ``log``."""
    started = time.monotonic()
    pid = os.fork()
    if pid:
        return Child(pid, log, started)
    try:
        os._exit(_run([str(arg) for arg in args], log, fault))
    finally:
        os._exit(99)


def run(*args: object, log: Path, fault: Fault | None = None) -> Done:
    return start(*args, log=log, fault=fault).wait()


def warm_up() -> None:
    """Import in the parent what the commands import when they run."""
    import energon_prep.cli.encode
    import energon_prep.cli.index
    import energon_prep.cli.verify
    import energon_prep.indexing
    import energon_prep.run.encode
    import energon_prep.sources.folders.folder
    import energon_prep.verifying  # noqa: F401
    import tests.fakes  # noqa: F401


def _run(args: list[str], log: Path, fault: Fault | None) -> int:
    with log.open("w") as file:
        sys.stdout = sys.stderr = file
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(file.fileno(), 2)
        if fault is not None:
            fault()
        try:
            code = main(args, standalone_mode=False) or 0  # what ctx.exit was given
        except click.ClickException as error:
            error.show(file)
            code = error.exit_code
        except BaseException:  # noqa: BLE001 - reported to the parent
            traceback.print_exc(file=file)
            code = 98
        file.flush()
    return code


def at_call(number: int, effect: Callable[[], None]) -> Fault:
    """A fault from the ``number``-th call that puts something on the disk, counted over all
    threads.
    """

    def fault() -> None:
        count = 0

        def before(call: Callable[..., Any]) -> Callable[..., Any]:
            def counted(*args: Any, **kwargs: Any) -> Any:
                nonlocal count
                count += 1
                if count >= number:
                    effect()
                return call(*args, **kwargs)

            return counted

        Path.replace = before(Path.replace)  # type: ignore[method-assign]
        os.fsync = before(os.fsync)
        # What GuardedFile writes to, so that its guard is on trial too.
        original = guard.GuardedFile.__init__

        def opened(self: Any, *args: Any) -> None:
            original(self, *args)
            self.raw = _Watched(self.raw, before(self.raw.write))

        guard.GuardedFile.__init__ = opened  # type: ignore[method-assign]

    return fault


class _Watched:
    """A file whose ``write`` is another."""

    def __init__(self, file: Any, write: Callable[..., Any]) -> None:
        self._file = file
        self.write = write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def count_calls(log: Path) -> Fault:
    """Write to ``log`` a byte for each call that ``at_call`` would count."""

    def tick() -> None:
        os.write(descriptor, b".")

    log.write_bytes(b"")
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    return at_call(1, tick)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def disk_is_full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def at_open(name: str, effect: Callable[[int], None]) -> Fault:
    """``effect`` whenever a file of that name is opened; it is told how often that was."""

    def fault() -> None:
        times, original = 0, Path.open

        def opened(self: Path, *args: Any, **kwargs: Any) -> Any:
            nonlocal times
            if self.name == name:
                times += 1
                effect(times)
            return original(self, *args, **kwargs)

        Path.open = opened  # type: ignore[method-assign]

    return fault


def fails(number: int, *, times: int) -> Callable[[int], None]:
    """Raise OSError the first ``times``."""

    def effect(time_: int) -> None:
        if time_ <= times:
            raise OSError(number, os.strerror(number))

    return effect


def slow_reads(seconds: float) -> Fault:
    """Every file takes that long to open."""

    def fault() -> None:
        original = Path.open

        def opened(self: Path, *args: Any, **kwargs: Any) -> Any:
            time.sleep(seconds)
            return original(self, *args, **kwargs)

        Path.open = opened  # type: ignore[method-assign]

    return fault


def clock_jumps(seed: int) -> Fault:
    """A wall clock that is years off, in either direction, at every look."""

    def fault() -> None:
        original, rng = time.time, random.Random(seed)

        def jumping() -> float:
            return original() + rng.uniform(-1e9, 1e9)

        time.time = jumping
        time.time_ns = lambda: int(1e9 * jumping())

    return fault
