"""Finds the sample at which a process is killed, for want of memory as a rule, and gives it up.

Nothing can be done in a process that is killed. So each worker notes in a file which samples it is
decoding, and takes the file away when it ends in any other way. What is found there when the
dataset is gone on with are suspects: each is decoded once more, with nothing beside it. Who is
named again is at fault, and is rejected.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from energon_prep.errors import SampleError
from energon_prep.layout import PRIVATE_DIR, SUSPECTS, decoding_name
from energon_prep.samples import KILLED, PendingSample
from energon_prep.storage import Storage, publish_bytes

log = logging.getLogger(__name__)

_NAME_BYTES = 16
_NOBODY = bytes(_NAME_BYTES)


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """Names of samples that were being decoded when a process was killed."""

    once: frozenset[bytes] = frozenset()
    twice: frozenset[bytes] = frozenset()


@contextmanager
def suspects_of(storage: Storage, *, forgotten: bool) -> Iterator[Suspects]:
    """Those of earlier runs, unless they are to be ``forgotten``; within, no other run has the
    dataset.

    A run that is stopped in order makes nobody a suspect, also where the same signal killed its
    workers.
    """
    if forgotten:
        forget(storage)
    times = _gather(storage)
    try:
        yield Suspects(
            once=frozenset(name for name, number in times.items() if number == 1),
            twice=frozenset(name for name, number in times.items() if number > 1),
        )
    except KeyboardInterrupt:
        _remove_notes(storage)
        raise


def forget(storage: Storage) -> None:
    """Remove all that is known of suspects."""
    _remove_notes(storage)
    storage.remove(SUSPECTS)


class Notes:
    """Which samples a worker is decoding now, in a file: that costs a sample some microseconds, as
    the file outlives the process in the system's memory and need not reach the disk.
    """

    def __init__(
        self, folder: Path | None = None, *, suspects: Suspects | None = None, salt: str = ""
    ) -> None:
        """``folder``: the dataset's; None: nothing is noted. ``salt``: what a sample's decoding
        depends on besides the sample.
        """
        self._suspects = suspects or Suspects()
        self._salt = hashlib.blake2b(salt.encode(), digest_size=_NAME_BYTES)
        self._room = _Room()
        self._lock = threading.Lock()
        self._slots: list[int] = []  #: that nobody has
        self._num_slots = 0
        self._path = None if folder is None else folder / decoding_name(os.getpid())
        self._file: BinaryIO | None = None
        if self._path is not None:
            with suppress(OSError):  # whom it is for is not helped by stopping
                self._file = self._path.open("wb", buffering=0)

    @contextmanager
    def decoding(self, sample: PendingSample) -> Iterator[None]:
        """Within, ``sample`` is noted; a suspect has the worker for itself. Raises SampleError for
        one at which processes were killed twice.
        """
        name = self._name(sample)
        if name in self._suspects.twice:
            raise SampleError(
                "decode", KILLED, "out of memory, if nobody killed it; --retry-rejects tries again"
            )
        with self._alone_if(name in self._suspects.once):
            slot = self._take_slot()
            self._note(slot, name)
            try:
                yield
            finally:
                self._note(slot, _NOBODY)
                self._slots.append(slot)

    def close(self) -> None:
        """The worker ends in order: its notes mean nothing any more."""
        if self._file is not None and self._path is not None:
            self._path.unlink(missing_ok=True)
            self._file.close()
            self._file = None

    def _name(self, sample: PendingSample) -> bytes:
        digest = self._salt.copy()
        digest.update(json.dumps([sample.source, sample.key]).encode())
        return digest.digest()

    def _alone_if(self, is_suspect: bool) -> AbstractContextManager[None]:
        return self._room.enter(alone=is_suspect) if self._suspects.once else nullcontext()

    def _take_slot(self) -> int:
        with self._lock:
            if self._slots:
                return self._slots.pop()
            self._num_slots += 1
            return self._num_slots - 1

    def _note(self, slot: int, name: bytes) -> None:
        if self._file is not None:
            with suppress(OSError):
                os.pwrite(self._file.fileno(), name, slot * _NAME_BYTES)


class _Room:
    """Entered by any number at once, or by one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._num_inside = 0
        self._is_closed = False

    @contextmanager
    def enter(self, *, alone: bool) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_closed)
            self._is_closed = alone
            if alone:
                self._changed.wait_for(lambda: not self._num_inside)
            self._num_inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._num_inside -= 1
                if alone:
                    self._is_closed = False
                self._changed.notify_all()


def _gather(storage: Storage) -> dict[bytes, int]:
    """How often each sample was named, and nothing else is left to be gathered."""
    before = _read(storage)
    noted = {name for file in _notes(storage) for name in _names_in(storage.read(file))}
    times = {**before, **{name: before.get(name, 0) + 1 for name in noted}}
    if noted:
        stored = {name.hex(): number for name, number in times.items()}
        publish_bytes(storage, SUSPECTS, (json.dumps(stored) + "\n").encode())
        log.warning("%s", _told(times, noted))
    _remove_notes(storage)
    return times


def _told(times: Mapping[bytes, int], noted: set[bytes]) -> str:
    if any(times[name] > 1 for name in noted):
        return (
            "the last run was killed at a sample at which one was killed before: it is rejected "
            "(out of memory, if nobody killed them)"
        )
    num = "1 sample was" if len(noted) == 1 else f"{len(noted)} samples were"
    return (
        f"{num} being decoded when the last run was killed, out of memory if nobody killed it: "
        "each is now decoded alone, and rejected if this run is killed at it too"
    )


def _read(storage: Storage) -> dict[bytes, int]:
    if not storage.exists(SUSPECTS):
        return {}
    try:
        stored = json.loads(storage.read(SUSPECTS))
        return {bytes.fromhex(name): int(number) for name, number in stored.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}  # no suspect is worse than one that is none


def _names_in(notes: bytes) -> Iterator[bytes]:
    for start in range(0, len(notes) - _NAME_BYTES + 1, _NAME_BYTES):
        name = notes[start : start + _NAME_BYTES]
        if name != _NOBODY:
            yield name


def _notes(storage: Storage) -> list[str]:
    prefix = decoding_name("")
    names = (f"{PRIVATE_DIR}/{name}" for name in storage.names(PRIVATE_DIR))
    return [name for name in names if name.startswith(prefix)]


def _remove_notes(storage: Storage) -> None:
    for name in _notes(storage):
        storage.remove(name)
