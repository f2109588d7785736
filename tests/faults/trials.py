"""What a trial starts from, and what it must show: what carried a final name was whole; the same
command ends with exit code 0; ``verify --deep`` is clean; every file of the dataset is the same to
the byte (index.sqlite: to the row); samples in = written + rejected.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from energon_prep.samples import TOUCHED
from tests.faults import children
from tests.faults.campaign import NUM_SAMPLES, PRIVATE, Campaign, Outcome, expect
from tests.faults.children import Done, run

#: What differs from run to run by its nature: times, the lock, what was set aside.
_TIMES = ("run.json", "ledger.json", "lock", "plan.partial.jsonl")


def destinations(
    campaign: Campaign, outcome: Outcome, num: int, *, encoded: bool = False, indexed: bool = False
) -> Iterator[Path]:
    """A destination for each trial: new, or a copy of the dataset."""
    dest = campaign.home / "dst"
    for _ in range(num):
        shutil.rmtree(dest, ignore_errors=True)
        if encoded:
            shutil.copytree(campaign.clean, dest)  # with its times
        if encoded and not indexed:
            shutil.rmtree(dest / ".nv-meta")
        outcome.trials += 1
        yield dest


def at_each_call(
    campaign: Campaign, outcome: Outcome, command: str, step: int
) -> Iterator[tuple[int, Path]]:
    encoded = command == "index"
    log = campaign.home / "calls"
    for dest in destinations(campaign, Outcome(), 1, encoded=encoded):
        expect(getattr(campaign, command)(dest, fault=children.count_calls(log)), 0)
    for number in range(1, log.stat().st_size + 1, step):
        for dest in destinations(campaign, outcome, 1, encoded=encoded):
            yield number, dest


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.0005)


def check_partial(campaign: Campaign, dest: Path, outcome: Outcome) -> None:
    """What carries a final name is whole."""
    for path in dest.glob("shard_*"):
        if path.read_bytes() != clean_bytes(campaign, path.name):
            outcome.problems.append(
                f"{path.name} has a final name and other bytes than the undisturbed run's"
            )


def check_after(
    campaign: Campaign, dest: Path, outcome: Outcome, *options: str, what: str = ""
) -> None:
    """Run the same command again, with ``options``; index, verify, compare."""
    done = campaign.encode(dest, *options)
    problems = wrong_code(done, 0)
    if f"{NUM_SAMPLES} samples in = {NUM_SAMPLES - 2} written + 2 rejected" not in done.output:
        problems.append(f"not accounted for: {done.output}")
    problems += wrong_code(campaign.index(dest), 0)
    outcome.problems += [f"{what}: {problem}" if what else problem for problem in problems]
    check_verified(campaign, dest, outcome)
    left = list((dest / PRIVATE / "tmp").glob("*"))
    ours, theirs = contents(dest), contents(campaign.clean)
    differ = sorted(
        name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)
    )
    if differ or left:
        outcome.problems.append(f"{what} differ: {differ}, left over: {left}")


def check_verified(campaign: Campaign, dest: Path, outcome: Outcome) -> None:
    for depth in ("--quick", "--deep"):
        outcome.problems += wrong_code(run("verify", dest, depth, log=campaign.home / "log"), 0)


def check_source(campaign: Campaign, dest: Path, outcome: Outcome, *, what: str) -> None:
    """The dataset is of what the source has now."""
    command = ("verify", dest, "--quick", "--source", campaign.source)
    done = run(*command, log=campaign.home / "log")
    outcome.problems += [f"{what}: {problem}" for problem in wrong_code(done, 0)]


def check_told(done: Done, text: str, outcome: Outcome) -> None:
    """An error is a sentence, not a traceback, and ends with exit code 1."""
    if done.code != 1 or text not in done.output or "Traceback" in done.output:
        outcome.problems.append(
            f"exit code {done.code}, and not {text!r} but: {done.output[-1500:]}"
        )


def wrong_code(done: Done, code: int) -> list[str]:
    return [] if done.code == code else [f"exit code {done.code}: {done.output[-1500:]}"]


def contents(root: Path) -> dict[str, object]:
    """Every file that should be equal, by name; times, the lock and what was set aside are left
    out.
    """
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if (
            not path.is_file()
            or path.name in _TIMES
            or f"{PRIVATE}/bad/" in name
            or "/tmp/" in name
        ):
            continue
        if path.suffix == ".sqlite":
            with closing(sqlite3.connect(path)) as connection:
                found[name] = list(connection.iterdump())
        elif "ledger/" in name and path.suffix == ".json":
            entry = json.loads(path.read_bytes())
            entry["notes"].pop(TOUCHED, None)
            found[name] = {**entry, "mtime_ns": None}
        else:
            found[name] = path.read_bytes()
    return found


def clean_bytes(campaign: Campaign, name: str) -> bytes | None:
    path = campaign.clean / name
    return path.read_bytes() if path.exists() else None
