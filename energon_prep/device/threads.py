"""Pools of threads beside the models'."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import torch


def start_pool(threads: int, name: str) -> ThreadPoolExecutor:
    """Threads that are there when this returns, and in which torch does what it does by itself.

    Each thread that calls torch would otherwise start as many more, which get in the way of the
    models'. Setting that is partly of the thread and partly (MKL's) of the process, so no thread
    may be started later.
    """
    models = torch.get_num_threads()
    started = threading.Barrier(threads + 1)
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name, initializer=_keep_to_itself)
    for _ in range(threads):
        pool.submit(started.wait)
    started.wait()
    torch.set_num_threads(models)
    return pool


def _keep_to_itself() -> None:
    # a thread that asks for the first time, later, would take over what the process has
    torch.get_num_threads()
    torch.set_num_threads(1)
