"""Several devices: real worker processes, of which a machine without GPUs can have two on its
CPU.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from energon_prep.device.devices import resolve_devices
from energon_prep.errors import PrepError
from tests.runs import SMALL, command, prep, tar_digests


@pytest.fixture(scope="module")
def alone(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    dest = tmp_path_factory.mktemp("alone")
    prep("encode", raw, dest, *SMALL, "--device", "cpu")
    return dest


def workers_of(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"spawn_main" in (stat.parent / "cmdline").read_bytes():
                found.append(int(stat.parent.name))
    return sorted(found)


def test_two_workers_give_the_same_bytes(raw: Path, tmp_path: Path, alone: Path) -> None:
    profile = tmp_path / "profile.json"
    report = json.loads(
        prep(
            "encode",
            raw,
            tmp_path / "dst",
            *SMALL,
            "--device",
            "cpu,cpu",
            "--json",
            "--profile",
            profile,
        ).stdout
    )
    assert tar_digests(tmp_path / "dst") == tar_digests(alone)
    empty = ".energon-prep/empty_caption.pickle"
    assert (tmp_path / "dst" / empty).read_bytes() == (alone / empty).read_bytes()
    assert report["num_written"] == report["num_samples"] > 0
    told = json.loads(profile.read_text())
    assert told["samples"] == report["num_samples"]
    assert set(told["stations"]) == {"read", "decode", "visual", "text", "write"}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to find the workers")
def test_a_worker_that_dies_stops_the_run_and_the_same_command_goes_on(
    raw: Path, tmp_path: Path, alone: Path
) -> None:
    dest = tmp_path / "dst"
    with subprocess.Popen(
        command("encode", raw, dest, *SMALL, "--device", "cpu,cpu"),
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        while not (dest / ".energon-prep/run.json").exists() and run.poll() is None:
            time.sleep(0.001)
        workers = workers_of(run.pid)
        assert len(workers) == 2
        os.kill(workers[-1], signal.SIGKILL)
        _, stderr = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "the worker on cpu died (killed by signal SIGKILL)" in stderr
    assert "Traceback" not in stderr
    assert tar_digests(dest).items() <= tar_digests(alone).items()
    prep("encode", raw, dest, *SMALL, "--device", "cpu,cpu")
    assert tar_digests(dest) == tar_digests(alone)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to find the workers")
def test_workers_do_not_outlive_the_one_that_started_them(
    raw: Path, tmp_path: Path, alone: Path
) -> None:
    dest = tmp_path / "dst"
    with subprocess.Popen(
        command("encode", raw, dest, *SMALL, "--device", "cpu,cpu"), stderr=subprocess.DEVNULL
    ) as run:
        while not (dest / ".energon-prep/run.json").exists() and run.poll() is None:
            time.sleep(0.001)
        workers = workers_of(run.pid)
        assert len(workers) == 2
        run.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "a worker goes on for nobody"
        time.sleep(0.05)
    assert tar_digests(dest).items() <= tar_digests(alone).items()


def test_what_a_worker_cannot_load_is_told_in_its_words(raw: Path, tmp_path: Path) -> None:
    weights = ("--weights", tmp_path / "none", "--torch-threads", 1)
    done = prep("encode", raw, tmp_path / "dst", *weights, "--device", "cpu,cpu", code=2)
    assert (
        done.stderr
        == prep("encode", raw, tmp_path / "dst", *weights, "--device", "cpu", code=2).stderr
    )


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cpu", ["cpu"]), ("cpu,cpu", ["cpu", "cpu"]), ("cpu, cpu", ["cpu", "cpu"])],
)
def test_devices_are_taken_apart(device: str, expected: list[str]) -> None:
    assert resolve_devices(device) == expected


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda:0,99", "", "cpu,", "0"])
def test_devices_that_are_not_there_are_refused(device: str) -> None:
    with pytest.raises(PrepError, match="--device"):
        resolve_devices(device)


def test_numbers_after_a_device_are_of_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert resolve_devices("cuda:0,1,3") == ["cuda:0", "cuda:1", "cuda:3"]
    assert resolve_devices("auto") == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    with pytest.raises(PrepError, match="sees 4 CUDA devices"):
        resolve_devices("cuda:0,4")
    with pytest.raises(PrepError, match="would not give the same numbers"):
        resolve_devices("cuda:0,cpu")
