"""A set of paths that takes 8 bytes for each: ten million paths must not become ten million
objects.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from hashlib import blake2b


class PathSet:
    """Add all paths, then ask for any.

    Two of ten million paths have the same hash, and count as one, with a chance of 3 in a million.
    """

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._sorted = True

    def __len__(self) -> int:
        """How many were added, the same ones again included."""
        return len(self._hashes)

    def add(self, path: str) -> None:
        self._hashes.append(path_hash(path))
        self._sorted = False

    def __contains__(self, path: str) -> bool:
        if not self._sorted:
            self._sort()
        wanted = path_hash(path)
        place = bisect_left(self._hashes, wanted)
        return place < len(self._hashes) and self._hashes[place] == wanted

    def _sort(self) -> None:
        import numpy as np  # what only recognises a source does without

        np.frombuffer(self._hashes, np.uint64).sort()
        self._sorted = True


def path_hash(path: str) -> int:
    """64 bits."""
    digest = blake2b(path.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
