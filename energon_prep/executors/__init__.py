"""Executors: who runs the workers."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from energon_prep.device.devices import num_cpus
from energon_prep.executors.base import Executor
from energon_prep.executors.job import Job
from energon_prep.executors.local import LocalExecutor
from energon_prep.executors.processes import ProcessExecutor
from energon_prep.storage import LocalStorage

log = logging.getLogger(__name__)


def open_executor(job: Job, devices: Sequence[str], storage: LocalStorage) -> Executor:
    """This process for one device, or a process for each of several."""
    if len(devices) == 1:
        return LocalExecutor(job, storage)
    threads = len(devices) * job.torch_threads
    if job.device == "cpu" and threads > num_cpus():
        log.warning(
            "%d workers with %d torch threads each are more than the %d processors: fewer "
            "--torch-threads are faster",
            len(devices),
            job.torch_threads,
            num_cpus(),
        )
    return ProcessExecutor(job, devices, storage)
