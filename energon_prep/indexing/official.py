"""Station 7, indexing: Energon's own preparation, run apart as ``python -m energon_prep.indexing.official FILE``.

FILE is the request as JSON, written by ``process.py``; what could not be done is written to the file it names.
Energon forks its workers and waits for their results forever, also when one was killed: then a watchdog ends the
process.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

_POLL_SECONDS = 0.05
_GRACE_SECONDS = 1.0  #: for the main thread to finish by itself after a worker's end


class _Worker(multiprocessing.Process):
    """Remembers who was started: one that dies at once is not among multiprocessing's active children any more."""

    started: ClassVar[list[_Worker]] = []

    def start(self) -> None:
        super().start()
        self.started.append(self)


def main(request_path: str) -> int:
    request: dict[str, Any] = json.loads(Path(request_path).read_text())
    multiprocessing.Process = _Worker  # type: ignore[misc]  # what Energon makes its workers of
    failure = Path(request["failure"])
    done = threading.Event()
    threading.Thread(target=_watch, args=(request["parent"], failure, done), daemon=True).start()
    try:
        _prepare(request)
    except SystemExit as end:  # Energon's way to report duplicate keys
        key = getattr(end.__context__, "sample_key", None)
        if key is None:
            raise
        failure.write_text(json.dumps({"duplicate": key}))
        return 1
    finally:
        done.set()
    return 0


def _prepare(request: dict[str, Any]) -> None:
    from megatron.energon.flavors import BaseWebdatasetFactory

    BaseWebdatasetFactory.prepare_dataset(
        Path(request["root"]),
        request["tars"],
        split_parts_ratio=[("train", 1.0)],
        split_config="unused.yaml",  # its rule loses shards: split.yaml is ours
        shuffle_seed=None,
        workers=request["workers"],
    )


def _watch(parent: int, failure: Path, done: threading.Event) -> None:
    while not done.wait(_POLL_SECONDS):
        if os.getppid() != parent:
            os.killpg(0, signal.SIGKILL)  # nobody waits for this any more
        for worker in _Worker.started:
            if worker.exitcode:
                _end(worker.exitcode, failure, done)


def _end(exitcode: int, failure: Path, done: threading.Event) -> None:
    # Energon itself ends its workers (SIGTERM) before it reports an error: let it.
    if done.wait(10 * _GRACE_SECONDS if exitcode == -signal.SIGTERM else _GRACE_SECONDS):
        return
    failure.write_text(json.dumps({"died": exitcode}))
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
