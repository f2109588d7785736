"""What is wrong, in words; few of many are kept, all are counted."""

from __future__ import annotations

from collections.abc import Iterable


class Problems:
    """Collects problems, each starting with the thing that is wrong: ``shard_000003.tar: ...``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: list[str] = []
        self.count = 0

    def add(self, problem: str) -> None:
        self.merge([problem], 1)

    def extend(self, problems: Iterable[str]) -> None:
        for problem in problems:
            self.add(problem)

    def merge(self, kept: Iterable[str], count: int) -> None:
        """Take over ``count`` problems of which only those in ``kept`` were kept."""
        self._kept += list(kept)[: self._most - len(self._kept)]
        self.count += count

    @property
    def kept(self) -> tuple[str, ...]:
        return tuple(self._kept)
