"""Station 1, planning: the plan is cut in a thread while shards are encoded already, and survives a kill.

DST/.energon-prep/plan.partial.jsonl    shard after shard; renamed to plan.jsonl when the source is listed
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from energon_prep.engine.plan import PLAN, PlanSummary, ShardPlan, from_line, source_changed, to_line
from energon_prep.storage import PRIVATE_DIR, LocalStorage, writing

PARTIAL = f"{PRIVATE_DIR}/plan.partial.jsonl"


class Planning:
    """Cuts the plan in a thread of its own; ``shards`` gives out what there is so far, and waits for more.

    A shard is given out when its line is on disk, so a run that was killed finds every shard it began in the partial
    plan, and is refused if the source has changed since. Used as a context, which ends the thread.
    """

    complete = False  #: while it goes on nobody knows how many there will be

    def __init__(
        self, storage: LocalStorage, shards: Iterable[ShardPlan], *, noted: Callable[[ShardPlan], None]
    ) -> None:
        self._path = storage.root / PARTIAL
        self._final = storage.root / PLAN
        self._noted = noted
        self._grown = threading.Condition()
        self._summary = PlanSummary(num_shards=0, num_samples=0)
        self._ended = False
        self._error: BaseException | None = None
        self._stop = False
        with writing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()
            # Before anything reads it: what a reader has in its buffer stays there when the line is written anew.
            os.truncate(self._path, sum(map(len, _whole_lines(self._path))))
        self._file = self._path.open("rb")  # still the same file when it is renamed
        self._thread = threading.Thread(target=self._run, args=(shards,), name="plan", daemon=True)

    def __enter__(self) -> Planning:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop = True
        self._thread.join()
        self._file.close()

    def shards(self) -> Iterator[ShardPlan]:
        """Every shard in order. Raises what went wrong with planning when it gets there."""
        for index in itertools.count():
            with self._grown:
                while self._summary.num_shards <= index and not self._ended:
                    self._grown.wait()
                if self._summary.num_shards <= index:
                    break
            yield from_line(self._file.readline())
        if self._error is not None:
            raise self._error

    def wait_for_first(self) -> None:
        """Wait until there is a shard to work on, or until it is known that there will be none."""
        with self._grown:
            while not self._summary.num_shards and not self._ended:
                self._grown.wait()
        if self._error is not None and not self._summary.num_shards:
            raise self._error

    @property
    def summary(self) -> PlanSummary:
        """Of the plan so far; of all of it when ``shards`` has ended."""
        return self._summary

    def _run(self, shards: Iterable[ShardPlan]) -> None:
        try:
            with self._path.open("r+b") as file:
                for shard in self._recorded(file, shards):
                    self._noted(shard)
                    with self._grown:
                        self._summary = PlanSummary(
                            num_shards=self._summary.num_shards + 1,
                            num_samples=self._summary.num_samples + shard.num_samples,
                        )
                        self._grown.notify_all()
                    if self._stop:
                        return
                with writing(self._final):
                    os.fsync(file.fileno())
                    self._path.replace(self._final)
        except BaseException as error:  # noqa: BLE001 - handed over to the thread that waits for shards
            self._error = error
        finally:
            with self._grown:
                self._ended = True
                self._grown.notify_all()

    def _recorded(self, file: BinaryIO, shards: Iterable[ShardPlan]) -> Iterator[ShardPlan]:
        """Hold each shard against the partial plan of an earlier run, and from its end on append."""
        old = _whole_lines(self._path)
        end = 0
        with contextlib.closing(old):
            for new in shards:
                line = to_line(new)
                before = next(old, None)
                if before is None:
                    with writing(self._path):
                        file.seek(end)
                        file.truncate()
                        file.write(line)
                        file.flush()
                elif before != line:
                    raise source_changed(from_line(before), new)
                end += len(line)
                yield new
            rest = next(old, None)
            if rest is not None:
                raise source_changed(from_line(rest), None)


def _whole_lines(path: Path) -> Generator[bytes, None, None]:
    """The lines that an earlier run completed; not the torn one at the end, nor those that this run appends."""
    size = path.stat().st_size
    with path.open("rb") as file:
        while file.tell() < size:
            line = file.readline()
            if not line.endswith(b"\n") or file.tell() > size:
                return
            yield line
