"""Energon's own preparation, in a process of its own that is seen to end, well or with a reason.

``prepare`` starts ``python -m energon_prep.indexing.energon_process FILE``, the second half of this
module. FILE is the request as JSON; what could not be done is written to the file it names. Energon
forks its workers and waits for their results forever, also when one was killed: then a watchdog
ends the process.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from energon_prep.errors import PrepError

logger = logging.getLogger(__name__)

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_POLL_SECONDS = 0.05
_GRACE_SECONDS = 1.0  #: for the main thread to finish by itself after a worker's end


def prepare(
    root: Path, tars: Sequence[str], *, workers: int, timeout: float | None, scratch: Path
) -> None:
    """Let Energon write ``root``'s .nv-meta and .idx files. Raises PrepError if it cannot, dies or
    takes too long.

    ``root`` is a folder of links to the tars, so that what a failure leaves half-written lies
    nowhere else; ``scratch`` is an empty folder beside it; ``timeout`` is in seconds.
    """
    request, failure, log = (
        scratch / "request.json",
        scratch / "failure.json",
        scratch / "energon.log",
    )
    request.write_text(
        json.dumps(
            {
                "root": str(root),
                "tars": list(tars),
                "workers": workers,
                "failure": str(failure),
                "parent": os.getpid(),
            }
        )
    )
    returncode = _run(request, log, timeout, cwd=scratch)
    output = log.read_text(errors="replace").strip()
    logger.debug("energon: %s", output)
    if returncode == 0:
        return
    reason: dict[str, Any] = json.loads(failure.read_text()) if failure.is_file() else {}
    if "died" in reason or returncode < 0:
        how = _how_it_ended(reason.get("died", returncode))
        raise PrepError(
            f"a process preparing the index {how}: free memory or use fewer workers, and run "
            "it again"
        )
    last = output.splitlines()[-1:] or [f"exit code {returncode}"]
    raise PrepError(f"Energon could not prepare the index: {last[0]}")


def _run(request: Path, log: Path, timeout: float | None, *, cwd: Path) -> int:
    """Exit code of the child, which leads a process group of its own; all of it is gone then."""
    paths = [str(_PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "energon_prep.indexing.energon_process", str(request)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,  # -m looks for modules here first: not in the user's folder
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,
        )
        try:
            return child.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise PrepError(
                f"preparing the index took longer than {timeout:g} s: allow more time, or use "
                "more workers"
            ) from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _how_it_ended(exitcode: int) -> str:
    if exitcode < 0:
        return f"was killed ({signal.Signals(-exitcode).name})"
    return f"ended with exit code {exitcode}"


class _Worker(multiprocessing.Process):
    """Remembers who was started: one that dies at once is not among multiprocessing's active
    children any more.
    """

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
        _prepare_dataset(request)
    finally:
        done.set()
    return 0


def _prepare_dataset(request: dict[str, Any]) -> None:
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
