"""A named pipe in the place of a tar holds Energon's workers, so that there is time to do something
to them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from energon_prep.errors import PrepError
from energon_prep.indexing.energon_process import prepare
from tests.indexing.tars import write_tar


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "set" / ".nv-meta").mkdir(parents=True)
    return tmp_path / "set"


def test_an_empty_tar_is_named(root: Path) -> None:
    write_tar(root / "a.tar", ["a.pth"])
    write_tar(root / "hollow.tar", [])
    with pytest.raises(PrepError, match=r"hollow\.tar"):
        prepare(
            root, ["a.tar", "hollow.tar"], workers=2, timeout=60, scratch=root.parent / "scratch"
        )


def _official(of: psutil.Process, *, num_workers: int = 2) -> list[psutil.Process]:
    """Energon's workers, once they are there, and the process that leads them."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for child in of.children():
            if "energon_prep.indexing.energon_process" in child.cmdline():
                workers = child.children()
                if len(workers) >= num_workers:
                    return [*workers, child]
        time.sleep(0.05)
    raise AssertionError("no workers appeared")


def _and_meanwhile(
    action: Callable[[list[psutil.Process]], None], *, num_workers: int = 2
) -> threading.Thread:
    thread = threading.Thread(
        target=lambda: action(_official(psutil.Process(), num_workers=num_workers))
    )
    thread.start()
    return thread


@pytest.mark.parametrize("whom", ["worker", "leader"])
def test_a_killed_process_is_told_soon_and_leaves_nobody(root: Path, whom: str) -> None:
    os.mkfifo(root / "a.tar")
    os.mkfifo(root / "b.tar")
    killed_at = 0.0
    everyone: list[psutil.Process] = []

    def kill(processes: list[psutil.Process]) -> None:
        nonlocal killed_at
        everyone.extend(processes)
        killed_at = time.monotonic()
        everyone[0 if whom == "worker" else -1].kill()

    thread = _and_meanwhile(kill)
    with pytest.raises(PrepError, match=r"was killed \(SIGKILL\)"):
        prepare(root, ["a.tar", "b.tar"], workers=2, timeout=60, scratch=root.parent / "scratch")
    assert time.monotonic() - killed_at < 5
    thread.join()
    assert _gone(everyone)


def test_a_preparation_that_takes_too_long_is_ended(root: Path) -> None:
    os.mkfifo(root / "a.tar")
    os.mkfifo(root / "b.tar")
    everyone: list[psutil.Process] = []
    thread = _and_meanwhile(everyone.extend, num_workers=0)
    with pytest.raises(PrepError, match=r"longer than 1 s"):
        prepare(root, ["a.tar", "b.tar"], workers=2, timeout=1, scratch=root.parent / "scratch")
    thread.join()
    assert everyone
    assert _gone(everyone)


def test_it_ends_with_the_process_that_asked_for_it(root: Path) -> None:
    os.mkfifo(root / "a.tar")
    os.mkfifo(root / "b.tar")
    code = (
        "import sys; from pathlib import Path; from energon_prep.indexing.energon_process "
        "import prepare\nprepare(Path(sys.argv[1]), ['a.tar', 'b.tar'], workers=2, "
        "timeout=60, scratch=Path(sys.argv[2]))"
    )
    asker = subprocess.Popen(
        [sys.executable, "-c", code, str(root), str(root.parent / "scratch")],
        cwd=Path(__file__).parents[2],
    )
    everyone = _official(psutil.Process(asker.pid))
    asker.send_signal(signal.SIGKILL)
    asker.wait()
    assert _gone(everyone)


def _gone(processes: list[psutil.Process]) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not any(
            process.is_running() and process.status() != psutil.STATUS_ZOMBIE
            for process in processes
        ):
            return True
        time.sleep(0.05)
    return False
