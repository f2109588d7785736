"""A folder whose later samples are not read before a gate opens, so that a run is sure to be in
its middle: ``--source tests.gate:GatedFolder`` with the gate's path in the environment.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from energon_prep.samples import PendingSample, RawSample
from energon_prep.sources.account import Account
from energon_prep.sources.base import Entry, Piece
from energon_prep.sources.folders.folder import FolderSource
from energon_prep.sources.options import SourceOptions
from tests.runs import command

GATE = "ENERGON_PREP_TEST_GATE"
SOURCE = ("--source-kind", "tests.gate:GatedFolder")
KILLER = "killer"
FREE = 25  #: samples that are read without waiting: with 10 to a shard, two shards and a half


class GatedFolder:
    def __init__(self, *, root: str, options: SourceOptions) -> None:
        self._folder = FolderSource(root=Path(root), options=options)
        self._gate = Path(os.environ[GATE])
        listed = self._folder.list(Account())
        self._places = {entry.path: place for place, entry in enumerate(listed)}

    def list(self, account: Account) -> Iterator[Entry]:
        return self._folder.list(account)

    def read(self, piece: Piece) -> Iterator[PendingSample]:
        for pending in self._folder.read(piece):
            if self._places[piece.path] >= FREE:
                pending = replace(pending, load=partial(self._wait, pending.load))
            yield pending

    def _wait(self, load: Callable[[], RawSample]) -> RawSample:
        while not self._gate.exists():
            time.sleep(0.001)
        return load()


class KillingFolder:
    """A folder whose media ``KILLER`` cannot be decoded without the process being killed, as one
    is that takes all memory.
    """

    def __init__(self, *, root: str, options: SourceOptions) -> None:
        self._folder = FolderSource(root=Path(root), options=options)

    def list(self, account: Account) -> Iterator[Entry]:
        return self._folder.list(account)

    def read(self, piece: Piece) -> Iterator[PendingSample]:
        for pending in self._folder.read(piece):
            is_killer = Path(pending.source).stem == KILLER
            yield replace(pending, load=partial(_deadly, pending.load)) if is_killer else pending


def _deadly(load: Callable[[], RawSample]) -> RawSample:
    raw = load()
    return replace(raw, media=replace(raw.media, content=raw.media.read(), open=_kill))


def _kill() -> BinaryIO:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("killed")


@contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """``energon-prep ARGS`` while it runs; it does not outlive a test that fails."""
    with subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True) as run:
        try:
            yield run
        finally:
            if run.poll() is None:
                run.kill()


@contextmanager
def gate(folder: Path) -> Iterator[Path]:
    """The path of a gate that is shut; ``touch`` opens it, and so does leaving."""
    path = folder / "gate"
    os.environ[GATE] = str(path)
    try:
        yield path
    finally:
        path.touch()
        del os.environ[GATE]


def wait_for(happened: Callable[[], bool], run: subprocess.Popen[str]) -> None:
    """Until what comes before the gate has happened."""
    deadline = time.monotonic() + 60
    while not happened():
        assert run.poll() is None, "the run ended before it came to the gate"
        assert time.monotonic() < deadline
        time.sleep(0.001)
