"""A process for every device of this machine; each asks for its next shard when it has decoded the
last.

What is said over a worker's pipe, both ways, is a tuple that begins with a word:

    to the worker      prepare SIZES     begin SIZES STORAGE     shard SHARD|None
    from the worker    loaded ENCODERS   ready READY   next   published ENTRY
                       encoded SAMPLES   window SAMPLES ENCODED   written NOTES   rejected REJECT
                       ended PROFILE     failed ERROR
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import signal
import threading
import traceback
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any

from energon_prep.device.batch_sizes import BatchSizes
from energon_prep.device.tuning import environment_of_workers, tune_process
from energon_prep.errors import PrepError
from energon_prep.executors.base import Ready
from energon_prep.executors.job import Job
from energon_prep.executors.worker import Worker
from energon_prep.pipeline.tally import Profile, Tally
from energon_prep.plan.shards import ShardPlan
from energon_prep.samples import Reject
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.storage import Storage

_PATIENCE = 5.0  #: seconds for a worker to come to rest


class ProcessExecutor:
    """Encodes shards on several devices at once, each in a process of its own.

    The processes are spawned: a program that asks for several devices needs the ``__main__`` guard.
    """

    def __init__(self, job: Job, devices: Sequence[str], storage: Storage) -> None:
        self._jobs = [dataclasses.replace(job, device=device) for device in devices]
        self._storage = storage
        self._workers: list[_WorkerProcess] = []
        self._ready: Ready | None = None
        self.profile = Profile()

    def load(self, sizes: BatchSizes | None) -> Ready:
        if self._ready is None:
            self._workers = [_WorkerProcess(job) for job in self._jobs]
            described = [worker.expect("loaded") for worker in self._workers]
            first = self._workers[0]  # the one that tries batch sizes, for all of them
            first.send("prepare", sizes)
            self._ready = first.expect("ready")
            for worker, encoders in zip(self._workers, described, strict=True):
                if encoders != self._ready.encoders:
                    raise PrepError(
                        f"the models differ between {first.name} and {worker.name}: "
                        f"{self._ready.encoders} there, {encoders} here. Were they changed "
                        "just now? Run it again"
                    )
        return self._ready

    def run(self, shards: Iterable[ShardPlan], tally: Tally) -> Generator[LedgerEntry, None, None]:
        assert self._ready is not None, "load comes first"
        rest = iter(shards)
        tally.meter.start(len(self._workers))
        for worker in self._workers:
            worker.send("begin", self._ready.sizes, self._storage)
        working = {worker.pipe: worker for worker in self._workers}
        try:
            while working:
                for pipe in connection.wait(list(working)):
                    worker = working[pipe]  # type: ignore[index]
                    word, *values = worker.receive()
                    if word == "next":
                        worker.send("shard", next(rest, None))
                    elif word == "encoded":
                        tally.add_encoded(values[0])
                    elif word == "window":
                        tally.add_window(*values)
                    elif word == "written":
                        tally.add_written(values[0])
                    elif word == "rejected":
                        tally.add_reject(values[0])
                    elif word == "published":
                        yield values[0]
                    elif word == "ended":
                        self.profile.merge(values[0])
                        del working[worker.pipe]
        finally:
            self.close()

    def close(self) -> None:
        for worker in self._workers:
            worker.pipe.close()  # which ends it when it next says something
        for worker in self._workers:
            worker.end()
        self._workers = []


class _WorkerProcess:
    """A worker's process, as the one that started it sees it."""

    def __init__(self, job: Job) -> None:
        context = multiprocessing.get_context("spawn")  # torch does not survive a fork
        self.name = f"the worker on {job.device}"
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_work, args=(job, theirs), name=self.name, daemon=True
        )
        with environment_of_workers():
            self._process.start()
        theirs.close()  # so that its end shows

    def send(self, *message: Any) -> None:
        try:
            self.pipe.send(message)
        except OSError as error:
            raise self._died() from error

    def receive(self) -> tuple[Any, ...]:
        """The next message. Raises PrepError if the worker failed or died."""
        try:
            message: tuple[Any, ...] = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        if message[0] == "failed":
            failure: PrepError = message[1]
            raise failure
        return message

    def expect(self, word: str) -> Any:
        """What comes with the next message, which must be ``word``."""
        found, *values = self.receive()
        assert found == word, f"{self.name} said {found}, not {word}"
        return values[0]

    def end(self) -> None:
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(_PATIENCE)  # in a read that hangs not even that ends it

    def _died(self) -> PrepError:
        self._process.join(_PATIENCE)
        code = self._process.exitcode
        how = (
            f"killed by signal {signal.Signals(-code).name}"
            if code is not None and code < 0
            else f"exit code {code}"
        )
        return PrepError(
            f"{self.name} died ({how}); out of memory, if nobody killed it. Finished shards "
            "are kept: run the same command again to go on"
        )


def _work(job: Job, pipe: Connection) -> None:
    """A worker's whole life, in its own process."""
    tune_process()
    # Ctrl-C reaches all; the one that started us ends us
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    voice = _Voice(pipe)
    try:
        with closing(Worker(job)) as worker:
            _do(worker, voice, pipe)
    except (EOFError, BrokenPipeError):
        return  # whom we worked for is gone, and nothing of ours that is not whole has a final name
    except PrepError as error:
        voice.say_at_last("failed", error)
    except BaseException:  # noqa: BLE001 - told by the one that started us
        name, told = multiprocessing.current_process().name, traceback.format_exc()
        voice.say_at_last("failed", PrepError(f"{name} failed: {told}"))


def _do(worker: Worker, voice: _Voice, pipe: Connection) -> None:
    """What a worker that has loaded its models is asked for."""
    voice.say("loaded", worker.describe())
    word, sizes, *rest = pipe.recv()
    if word == "prepare":
        voice.say("ready", worker.prepare(sizes))
        word, sizes, *rest = pipe.recv()
    else:
        worker.prepare(sizes)
    for entry in worker.encode(voice.shards(), storage=rest[0], counts=voice):
        voice.say("published", entry)
    voice.say("ended", worker.profile.to_dict())


class _Voice:
    """The worker's end of its pipe, which several of its threads speak into; what is counted is
    told at once.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def say(self, *message: Any) -> None:
        with self._lock:
            self._pipe.send(message)

    def say_at_last(self, *message: Any) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more: another worker failed first
            self.say(*message)

    def shards(self) -> Iterator[ShardPlan]:
        """Ask for shards one by one."""
        while True:
            self.say("next")
            _, shard = self._pipe.recv()
            if shard is None:
                return
            yield shard

    def add_encoded(self, samples: float) -> None:
        self.say("encoded", samples)

    def add_window(self, num_samples: int, num_encoded: int) -> None:
        self.say("window", num_samples, num_encoded)

    def add_written(self, notes: Mapping[str, int]) -> None:
        self.say("written", notes)

    def add_reject(self, reject: Reject) -> None:
        self.say("rejected", reject)
