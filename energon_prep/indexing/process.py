"""Station 7, indexing: runs Energon's preparation (``official.py``) and sees that it ends, well or with a reason."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from energon_prep.errors import PrepError
from energon_prep.indexing.scan import find_key

logger = logging.getLogger(__name__)

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


def prepare(root: Path, tars: Sequence[str], *, workers: int, timeout: float | None, scratch: Path) -> None:
    """Let Energon write ``root``'s .nv-meta and .idx files. Raises PrepError if it cannot, dies or takes too long.

    ``root`` is a folder of links to the tars, so that what a failure leaves half-written lies nowhere else;
    ``scratch`` is an empty folder beside it; ``timeout`` is in seconds.
    """
    request, failure, log = scratch / "request.json", scratch / "failure.json", scratch / "energon.log"
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
    if "duplicate" in reason:
        raise _duplicate(root, tars, str(reason["duplicate"]))
    if "died" in reason or returncode < 0:
        how = _how_it_ended(reason.get("died", returncode))
        raise PrepError(f"a process preparing the index {how}: free memory or use fewer workers, and run it again")
    last = output.splitlines()[-1:] or [f"exit code {returncode}"]
    raise PrepError(f"Energon could not prepare the index: {last[0]}")


def _run(request: Path, log: Path, timeout: float | None, *, cwd: Path) -> int:
    """Exit code of the child, which leads a process group of its own; all of it is gone on return."""
    paths = [str(_PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "energon_prep.indexing.official", str(request)],
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
                f"preparing the index took longer than {timeout:g} s: allow more time, or use more workers"
            ) from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _duplicate(root: Path, tars: Sequence[str], key: str) -> PrepError:
    places = find_key(root, tars, key)
    return PrepError(
        f"the key {key!r} occurs in {' and in '.join(places)}: keys must be unique over the whole dataset. "
        "Rename the samples, or put each tar's into a folder of its own with `energon prepare --fix-duplicates`"
    )


def _how_it_ended(exitcode: int) -> str:
    if exitcode < 0:
        return f"was killed ({signal.Signals(-exitcode).name})"
    return f"ended with exit code {exitcode}"
