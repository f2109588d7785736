"""Tunes processes that are ours, the command line's and workers'; a program that calls the library
stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

#: Read when torch is first imported. Torch's threads wait for each other in a loop, by default for
#: milliseconds, on processors that could decode and write meanwhile. oneDNN keeps the kernels of
#: the last 1024 sizes it met, some 30 MB that a long run fills up slowly. Pillow's blocks of 16 MB
#: would stay in the heap of the thread that freed them; larger ones go back to the system at once.
ENVIRONMENT = {
    "GOMP_SPINCOUNT": "20000",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    "PILLOW_BLOCK_SIZE": "64m",
}


def tune_process() -> None:
    """Tune this process, from now on; to be called before torch is imported."""
    from energon_prep.device.memory import keep_heap

    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    keep_heap()


@contextmanager
def environment_of_workers() -> Iterator[None]:
    """Processes that are started within have the tuned environment, this one only as long."""
    added = [name for name in ENVIRONMENT if name not in os.environ]
    os.environ.update({name: ENVIRONMENT[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextmanager
def caller_left_alone() -> Iterator[None]:
    """What encoding changes of the whole process within is as before afterwards: torch's threads,
    Pillow's limit.
    """
    import torch
    from PIL import Image

    threads, limit = torch.get_num_threads(), Image.MAX_IMAGE_PIXELS
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        Image.MAX_IMAGE_PIXELS = limit
