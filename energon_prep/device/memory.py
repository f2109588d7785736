"""What is freed is used again, and goes back to the system now and then.

glibc maps every block above a threshold by itself and unmaps it when it is freed, and shrinks its
heap whenever the end of it is free: tensors come and go so fast that on a CPU the pages took longer
than the arithmetic (twice as long, for a small autoencoder). It raises the threshold as it goes,
which fragments the heap of a long run. So both are fixed here, at the highest it takes, and free
pages are given back at the end of every window.
"""

from __future__ import annotations

import ctypes
import functools
import sys

# malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_LARGEST_BLOCK = 32 * 2**20  #: glibc takes no higher threshold
_NEVER = 2**31 - 1
_ARENAS = 2  #: heaps that threads share: what one frees, others use


def keep_heap() -> None:
    """Keep freed memory for the next tensors, in this process from now on. Does nothing without
    glibc.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
        libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)
        libc.mallopt(_M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Return free pages to the system; takes some 10 ms."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return None
    return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None
