"""Every kind of fault, and how often each is tried."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.campaign import Campaign, Outcome
from tests.faults.disks import damages, full_disk_at_calls, full_disks
from tests.faults.edits import edits, emptied
from tests.faults.growth import sources_grown
from tests.faults.kills import (
    clock_jumps,
    kills_at_calls,
    kills_of_encode,
    kills_of_index,
    stops,
    two_at_once,
)
from tests.faults.reads import read_errors, sources_away, unmounts

Scenario = Callable[[Campaign], Outcome | None]


def scenarios(scale: float) -> dict[str, Scenario]:
    """All of them; ``scale`` 1 is the full campaign."""

    def num(full: int) -> int:
        return max(1, round(full * scale))

    step = max(1, round(1 / scale / 2))
    return {
        "kill -9 of encode at random": lambda c: kills_of_encode(c, num(200)),
        "kill -9 of index at random": lambda c: kills_of_index(c, num(200)),
        "kill -9 of encode at each call": lambda c: kills_at_calls(c, "encode", step),
        "kill -9 of index at each call": lambda c: kills_at_calls(c, "index", step),
        "disk full from each call of encode": lambda c: full_disk_at_calls(c, "encode", step),
        "disk full from each call of index": lambda c: full_disk_at_calls(c, "index", step),
        "disks of all sizes": lambda c: full_disks(c, num(40)),
        "SIGTERM": lambda c: stops(c, num(40)),
        "read errors, slow reads": read_errors,
        "clock jumps": lambda c: clock_jumps(c, num(20)),
        "flipped bits and cut files": lambda c: damages(c, num(100)),
        "two runs at once": lambda c: two_at_once(c, num(20)),
        "sources that go away": lambda c: sources_away(c, num(300)),
        "sources that grow": lambda c: sources_grown(c, num(300)),
        "sources that are unmounted": lambda c: unmounts(c, num(75)),
        "sources that are edited": lambda c: edits(c, num(150)),
        "files that are emptied": lambda c: emptied(c, num(75)),
    }
