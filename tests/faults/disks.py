"""Disks that are full, and files that a disk has changed."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

from tests.faults import children
from tests.faults.campaign import PRIVATE, Campaign, Outcome
from tests.faults.children import run
from tests.faults.trials import at_each_call, check_after, check_partial, check_told, destinations


def full_disk_at_calls(campaign: Campaign, command: str, step: int) -> Outcome:
    """No space left on device from each (``step``-th) such call on."""
    outcome = Outcome()
    for number, dest in at_each_call(campaign, outcome, command, step):
        done = getattr(campaign, command)(
            dest, fault=children.at_call(number, children.disk_is_full)
        )
        outcome.disturbed += done.code != 0
        check_told(done, "No space left on device", outcome)
        check_partial(campaign, dest, outcome)
        check_after(campaign, dest, outcome)
    return outcome


def full_disks(campaign: Campaign, num: int) -> Outcome | None:
    """Real file systems of ``num`` sizes, all too small; None where mounting one is not
    permitted.
    """
    outcome = Outcome()
    needed = sum(path.stat().st_size + 4096 for path in campaign.clean.rglob("*") if path.is_file())
    place = campaign.home / "disk"
    place.mkdir()
    for trial in range(num):
        size = 4096 * (2 + int((trial + 0.5) * needed / num / 4096))
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            return None
        try:
            dest = place / "dst"
            outcome.trials += 1
            done = campaign.encode(dest)
            if done.code == 0:
                done = campaign.index(dest)
            outcome.disturbed += done.code != 0
            if done.code:
                check_told(done, "", outcome)
            check_partial(campaign, dest, outcome)
            subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
            check_after(campaign, dest, outcome)
        finally:
            subprocess.run(["umount", str(place)], check=True)
    return outcome


def damages(campaign: Campaign, num: int) -> Outcome:
    """A bit flipped in, or the end cut off, a file of a finished dataset: found, set aside, made
    again to the byte.
    """
    outcome = Outcome()
    tars = [path.relative_to(campaign.clean) for path in sorted(campaign.clean.rglob("shard_*"))]
    flippable = [path for path in tars if path.suffix in (".tar", ".idx", ".rows")]
    others = [Path(PRIVATE) / "plan.jsonl", Path(PRIVATE) / "empty_caption.pickle"]
    for dest in destinations(campaign, outcome, num, encoded=True, indexed=True):
        flip = campaign.rng.random() < 0.5
        name = campaign.rng.choice(flippable if flip else [*tars, *others])
        what = _flip(dest / name, campaign.rng) if flip else _cut(dest / name, campaign.rng)
        found = run("verify", dest, "--deep", log=campaign.home / "log")
        outcome.disturbed += found.code == 1
        if found.code != 1 or "to repair: run verify --mark-bad" not in found.output:
            outcome.problems.append(
                f"{name}: {what}: verify ends with {found.code}: {found.output}"
            )
        marked = run("verify", dest, "--mark-bad", log=campaign.home / "log")
        if "set aside in" not in marked.output:
            outcome.problems.append(f"{name}: {what}: --mark-bad says {marked.output}")
        check_after(campaign, dest, outcome, what=f"{name}: {what}")
    return outcome


def _flip(path: Path, rng: random.Random) -> str:
    data = bytearray(path.read_bytes())
    bit = rng.randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    return f"bit {bit} flipped"


def _cut(path: Path, rng: random.Random) -> str:
    size = rng.randrange(path.stat().st_size)
    os.truncate(path, size)
    return f"cut to {size} bytes"
