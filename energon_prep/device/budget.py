"""The memory that decoding may take at once, shared by the threads that decode."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

_SHARE = 4  #: of what is available decoding takes one part; models, texts and tars need the rest
_UNKNOWN = 2**32  #: bytes, where the system does not tell


class Budget:
    """A number of bytes that threads take their shares of, in the order in which they ask.

    No more is taken than there is, with one exception: who asks for more gets it when no one else
    has anything. So memory stays below the budget or one sample, whichever is more.
    """

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes
        self.seconds_waited = 0.0  #: of all threads together
        self._taken = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def claim(self) -> Iterator[Claim]:
        """Within, a share can be taken; it is given back at the end."""
        claim = Claim(self)
        try:
            yield claim
        finally:
            claim.take(0)

    def _take(self, num_bytes: int) -> None:
        turn = object()
        asked = time.perf_counter()
        with self._changed:
            self._waiting.append(turn)
            try:
                self._changed.wait_for(
                    lambda: self._waiting[0] is turn and self._has_free(num_bytes)
                )
                self._taken += num_bytes
                self.seconds_waited += time.perf_counter() - asked
            finally:
                self._waiting.remove(turn)
                self._changed.notify_all()

    def _has_free(self, num_bytes: int) -> bool:
        return not self._taken or self._taken + num_bytes <= self.num_bytes

    def _give_back(self, num_bytes: int) -> None:
        with self._changed:
            self._taken -= num_bytes
            self._changed.notify_all()


class Claim:
    """One thread's share of a budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held = 0

    def take(self, num_bytes: int) -> None:
        """Wait for so many bytes, instead of those that were taken before.

        Where those suffice, they are kept. Else they are given back first: of threads that hold
        some and wait for more, none would go on. So what they were for must not be in use any more.
        """
        kept = num_bytes if num_bytes <= self._held else 0
        self._budget._give_back(self._held - kept)
        self._held = kept
        if num_bytes > kept:
            self._budget._take(num_bytes)
            self._held = num_bytes


def make_budget(num_workers: int = 1) -> Budget:
    """One worker's, of so many on this machine: a part of what is available now."""
    return Budget(available_bytes() // _SHARE // num_workers)


def available_bytes(root: Path = Path("/")) -> int:
    """What this process may still take: of the machine, its cgroups (v1 and v2) and its address
    space. ``root``: where ``proc`` and ``sys`` lie.
    """
    bounds = [*_machine(root), *_address_space(root), *_cgroups(root)]
    return max(min(bounds, default=_UNKNOWN), 0)


def _machine(root: Path) -> Iterator[int]:
    kilobytes = _fields(root / "proc/meminfo").get("MemAvailable:")
    if kilobytes is not None:
        yield kilobytes * 1024
    elif "SC_PHYS_PAGES" in os.sysconf_names:
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _address_space(root: Path) -> Iterator[int]:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = _fields(root / "proc/self/status").get("VmSize:", 0) * 1024
    if limit != resource.RLIM_INFINITY:
        yield limit - used


def _cgroups(root: Path) -> Iterator[int]:
    """Of each cgroup that this process is in, and those around it, what is left below its limit."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mount, names = "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            mount = "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        place = PurePosixPath(path.lstrip("/"))
        # In a container the path may be the host's, and the mount's root is the cgroup itself.
        for folder in (place, *place.parents):
            yield from _left(root / mount / folder, *names)


def _left(folder: Path, limit_name: str, used_name: str, cache_name: str) -> Iterator[int]:
    limit, used = _lines(folder / limit_name), _lines(folder / used_name)
    if limit and used and limit[0].isdigit():  # v2 says "max" for no limit
        # pages of files that the kernel drops when memory is asked for
        cache = _fields(folder / "memory.stat").get(cache_name, 0)
        yield int(limit[0]) - max(int(used[0]) - cache, 0)


def _fields(path: Path) -> dict[str, int]:
    """The numbers of a file with a name and a number a line."""
    rows = (line.split() for line in _lines(path))
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
