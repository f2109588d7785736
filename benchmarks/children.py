"""Measuring in a process of its own, so that nothing that one way does to its process or leaves in
it helps another.

The parent starts a child, which loads and warms up and then waits; told to, it does one round and
says what it took. So the ways can be measured in turns, and each has its own peak of memory.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

#: Does one round and returns what is to be told of it, "seconds" among other things.
Round = Callable[[], dict[str, Any]]


class Child:
    """``python -m MODULE ARGS``, ready to do rounds."""

    def __init__(self, module: str, *args: str) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._answer()

    def round(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(b"round\n")
        self._process.stdin.flush()
        return self._answer()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        if error is not None:
            self._process.kill()
        self._process.wait()
        self._log.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else self._fail()

    def _fail(self) -> NoReturn:
        code = self._process.wait()
        self._log.seek(0)
        said = self._log.read().decode(errors="replace")
        raise SystemExit(
            f"{' '.join(map(str, self._process.args))} ended with {code}:\n{said[-4000:]}"
        )


def serve(prepare: Callable[[], Round]) -> None:
    """The child's side: make ready, then do a round for every line that comes."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the libraries print
    do_round = prepare()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for _ in sys.stdin:
        told = do_round()
        print(json.dumps({**told, **peak_memory()}), file=answers, flush=True)


def peak_memory() -> dict[str, Any]:
    """MiB that this process held at most, of the machine and of its device, if it has one."""
    peak: dict[str, Any] = {"peak_mib": _peak_rss_kib() // 1024}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        peak["device"] = torch.cuda.get_device_name()
        peak["device_peak_mib"] = torch.cuda.max_memory_allocated() // 2**20
    return peak


def _peak_rss_kib() -> int:
    """Of this process alone; ``ru_maxrss`` begins with the memory of the process that started
    it.
    """
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
