"""Which devices and processors there are to work on."""

from __future__ import annotations

import os

import torch

from energon_prep.errors import UsageError


def resolve_devices(device: str) -> list[str]:
    """The devices of ``--device``, one worker each: "cuda:0,1" -> cuda:0 and cuda:1, "cpu,cpu" ->
    two on the CPU.

    ``auto`` is every CUDA device there is, or else the CPU. Raises PrepError for a device that is
    not there.
    """
    if device == "auto":
        return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]
    devices: list[str] = []
    for word in device.split(","):
        name = (
            f"{devices[-1].partition(':')[0]}:{word}"
            if devices and word.strip().isdecimal()
            else word
        )
        devices.append(_require_device(name.strip(), asked=device))
    kinds = {name.partition(":")[0] for name in devices}
    if len(kinds) > 1:
        raise UsageError(
            f"--device {device}: {' and '.join(sorted(kinds))} would not give the same "
            "numbers: use one"
        )
    return devices


def _require_device(name: str, *, asked: str) -> str:
    try:
        found = torch.device(name)
    except RuntimeError as error:
        raise UsageError(
            f"--device {asked!r} is no device: give auto, cpu, cuda, cuda:N or cuda:0,1"
        ) from error
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"--device {asked}: this torch ({torch.__version__}) sees "
            f"{torch.cuda.device_count()} CUDA devices: use --device cpu, or one that is there"
        )
    return name


def num_cpus() -> int:
    """Processors this process may use (containers and taskset give fewer than the machine has)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
