"""The real command, with real models, under the signals that schedulers send."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import energon_prep
from tests.gate import SOURCE, gate, started, wait_for
from tests.runs import SMALL, prep, tar_digests


def test_sigterm_stops_cleanly_and_the_same_command_goes_on(raw: Path, tmp_path: Path) -> None:
    dest = tmp_path / "dst"
    arguments = ("encode", raw, dest, *SMALL, *SOURCE)
    with gate(tmp_path) as path, started(*arguments) as run:
        wait_for((dest / "shard_000001.tar").exists, run)
        run.send_signal(signal.SIGTERM)
        run.send_signal(signal.SIGTERM)  # some launchers send it to the group and to the process
        path.touch()
        _, stderr = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "stopped: 20 of 40 samples, in 2 shards, are kept; the same command goes on" in stderr
    assert "Traceback" not in stderr
    assert not list((dest / ".energon-prep/tmp").iterdir())
    left = tar_digests(dest)
    assert len(left) == 2
    with gate(tmp_path) as path:
        path.touch()
        prep(*arguments)
    assert left.items() <= tar_digests(dest).items()
    report = energon_prep.verify(dest)
    assert (report.problems, report.samples) == ((), 40)


def test_a_second_signal_ends_what_hangs(raw: Path, tmp_path: Path) -> None:
    dest = tmp_path / "dst"
    arguments = ("encode", raw, dest, *SMALL, *SOURCE)
    # The gate stays shut: reads hang, as on a mount that is gone.
    with gate(tmp_path), started(*arguments) as run:
        wait_for((dest / "shard_000001.tar").exists, run)
        run.send_signal(signal.SIGTERM)
        while run.poll() is None:  # but for those that come at once, the next one ends it
            time.sleep(0.2)
            run.send_signal(signal.SIGINT)
        stderr = run.communicate()[1]
    assert run.returncode == 1
    assert "stopping; once more, and it ends at once" in stderr
    assert "ended at once: what is finished is kept" in stderr
    with gate(tmp_path) as path:
        path.touch()
        assert "20 samples were finished by earlier runs" in prep(*arguments).stdout
