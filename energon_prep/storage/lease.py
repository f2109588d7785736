"""The lock of a dataset in an object store: an object with a lease, which its holder renews.

A store has no lock that dies with a process. Whoever finds the lock watches it: one that is renewed
is held, one that stays as it is for a whole lease is of a run that died. No machine's time of day
matters.
"""

from __future__ import annotations

import json
import logging
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from energon_prep.errors import PrepError
from energon_prep.storage.holder import holder, parse_lock

log = logging.getLogger(__name__)

SECONDS = 60.0  #: that a lock holds unrenewed
_RENEWED = SECONDS / 6  #: every so many seconds
_LOOKED = SECONDS / 12  #: at somebody else's, about every so many


class LockStore(Protocol):
    """What the lock needs of a store."""

    url: str

    def read(self, name: str) -> bytes: ...

    def put_new(self, name: str, data: bytes) -> bool: ...

    def swap(self, name: str, old: bytes, new: bytes) -> bool: ...

    def remove(self, name: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Clock:
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Lease:
    """Of one run on one lock, which is to be taken before anything is written."""

    def __init__(self, store: LockStore, name: str, *, clock: Clock | None = None) -> None:
        self._store = store
        self._name = name
        self._clock = clock or Clock()
        self._run = uuid.uuid4().hex
        self._renewals = 0
        self._until = 0.0
        self._data = b""

    def take(self) -> None:
        """Raises PrepError while another run holds the lock."""
        self._begin_period(self._note())
        if self._store.put_new(self._name, self._data):
            return
        stale = self._watch()
        self._begin_period(self._note())
        # Of several that watched the same one the first takes it, the others find another there.
        taken = (
            self._store.put_new(self._name, self._data)
            if stale is None
            else self._store.swap(self._name, stale, self._data)
        )
        if not taken:
            raise self._refusal(self._read() or b"")
        if stale is not None:
            log.warning("the lock of %s was taken over: %s died", self._store.url, holder(stale))

    def renew(self) -> None:
        """Raises PrepError if the lock is another's by now."""
        old, self._renewals = self._data, self._renewals + 1
        new = self._note()
        began = self._clock.now()
        if not self._store.swap(self._name, old, new):
            self._until = 0.0
            self.require()
        self._data, self._until = new, began + SECONDS

    def require(self) -> None:
        """Raise PrepError unless the lock is held for certain."""
        if self._clock.now() >= self._until:
            raise PrepError(
                f"{self._store.url}: the lock was not renewed for {SECONDS:g} s, or was taken by "
                "another run: this one writes no more. What is finished is kept: when no other "
                "run is at work, run the same command again"
            )

    def release(self) -> None:
        if self._read() == self._data:
            self._store.remove(self._name)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Take the lock, renew it in a thread of its own, and let it go."""
        self.take()
        over = threading.Event()
        renewing = threading.Thread(target=self._keep, args=(over,), daemon=True)
        renewing.start()
        try:
            yield
        finally:
            over.set()
            renewing.join()
            self.release()

    def _keep(self, over: threading.Event) -> None:
        while not over.wait(_RENEWED):
            try:
                self.renew()
            except PrepError as error:  # what is written next says it too, when time is up
                log.warning("%s", error)

    def _watch(self) -> bytes | None:
        """The lock, if nobody renewed it for a lease; None: it is gone. Raises PrepError if it
        is held.
        """
        seen = self._read()
        if seen is None or _died_here(seen):
            return seen
        log.warning(
            "%s is locked by %s: watched for up to %g s, whether that is still at work",
            self._store.url,
            holder(seen),
            SECONDS,
        )
        until = self._clock.now() + SECONDS
        while self._clock.now() < until:
            self._clock.sleep(_LOOKED * random.uniform(0.8, 1.2))  # not all at once
            found = self._read()
            if found is None:
                return None
            if found != seen:
                raise self._refusal(found)
        return seen

    def _begin_period(self, data: bytes) -> None:
        self._data, self._until = data, self._clock.now() + SECONDS

    def _read(self) -> bytes | None:
        try:
            return self._store.read(self._name)
        except FileNotFoundError:
            return None

    def _note(self) -> bytes:
        note = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "machine": _machine(),
            "run": self._run,
            "renewals": self._renewals,
        }
        return json.dumps(note).encode()

    def _refusal(self, lock: bytes) -> PrepError:
        return PrepError(
            f"another run is writing to {self._store.url} ({holder(lock)}): wait for it, stop "
            "it, or write to another destination"
        )


def _died_here(lock: bytes) -> bool:
    """Whether the holder was a process of this machine that is no more."""
    note = parse_lock(lock)
    if not _machine() or note.get("machine") != _machine() or type(note.get("pid")) is not int:
        return False
    return not Path(f"/proc/{note['pid']}").exists()


def _machine() -> str:
    """Of processes that see each other: this boot of this system, and its table of processes; ""
    where that cannot be told.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
