"""The real command, with real models, under the signals that schedulers send."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import energon_prep
from tests.runs import SMALL, command, prep, tar_digests


def test_sigterm_stops_cleanly_and_the_same_command_goes_on(raw: Path, tmp_path: Path) -> None:
    dest = tmp_path / "dst"
    with subprocess.Popen(
        command("encode", raw, dest, *SMALL), stderr=subprocess.PIPE, text=True
    ) as run:
        while not (dest / "shard_000000.tar").exists() and run.poll() is None:
            time.sleep(0.0005)
        run.send_signal(signal.SIGTERM)
        run.send_signal(signal.SIGTERM)  # some launchers send it to the group and to the process
        _, stderr = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "stopped: what is finished is kept, the same command goes on" in stderr
    assert "Traceback" not in stderr
    assert not list((dest / ".energon-prep/tmp").iterdir())
    left = tar_digests(dest)
    assert 1 <= len(left) < 4
    prep("encode", raw, dest, *SMALL)
    assert left.items() <= tar_digests(dest).items()
    report = energon_prep.verify(dest)
    assert (report.problems, report.samples) == ((), 40)
