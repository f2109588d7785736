"""Commands that are killed or stopped, or that another runs beside."""

from __future__ import annotations

import os
import signal
import time

from tests.faults import children
from tests.faults.campaign import PRIVATE, Campaign, Outcome
from tests.faults.children import SMALL, start
from tests.faults.trials import (
    at_each_call,
    check_after,
    check_partial,
    check_told,
    destinations,
    wait_for,
    wrong_code,
)


def kills_of_encode(campaign: Campaign, num: int) -> Outcome:
    """kill -9, or a segfault, at moments drawn evenly from the run's duration, one to three times
    before it may end.
    """
    outcome = Outcome()
    for dest in destinations(campaign, outcome, num):
        for _ in range(campaign.rng.choice([1, 1, 2, 3])):
            child = start("encode", campaign.source, dest, *SMALL, log=campaign.home / "log")
            time.sleep(campaign.rng.uniform(0, 1.1 * campaign.seconds))
            child.kill(campaign.rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSEGV]))
            outcome.disturbed += child.wait().code < 0
            check_partial(campaign, dest, outcome)
        check_after(campaign, dest, outcome)
    return outcome


def kills_of_index(campaign: Campaign, num: int) -> Outcome:
    """The same of index, over a dataset that is encoded, or that is indexed for another split."""
    outcome = Outcome()
    for dest in destinations(campaign, outcome, num, encoded=True):
        child = start("index", dest, "--split", "2,1,0", log=campaign.home / "log")
        time.sleep(campaign.rng.uniform(0, 1.1 * campaign.index_seconds))
        child.kill()
        outcome.disturbed += child.wait().code == -signal.SIGKILL
        check_after(campaign, dest, outcome)
    return outcome


def kills_at_calls(campaign: Campaign, command: str, step: int) -> Outcome:
    """kill -9 just before each (``step``-th) write, fsync and rename: between tar, .idx, rows and
    ledger too.
    """
    outcome = Outcome()
    for number, dest in at_each_call(campaign, outcome, command, step):
        done = getattr(campaign, command)(dest, fault=children.at_call(number, children.die))
        outcome.disturbed += done.code == -signal.SIGKILL
        check_partial(campaign, dest, outcome)
        check_after(campaign, dest, outcome)
    return outcome


def stops(campaign: Campaign, num: int) -> Outcome:
    """SIGTERM, as Slurm sends it before the time is up: exit code 1, a sentence, and nothing
    half-written left.
    """
    outcome = Outcome()
    for dest in destinations(campaign, outcome, num):
        fault = children.slow_reads(0.01)
        child = start(
            "encode", campaign.source, dest, *SMALL, log=campaign.home / "log", fault=fault
        )
        wait_for(
            dest
            / campaign.rng.choice([f"{PRIVATE}/run.json", "shard_000000.tar", "shard_000002.tar"])
        )
        child.kill(signal.SIGTERM)
        done = child.wait()
        if done.code:
            outcome.disturbed += 1
            check_told(done, "stopped: ", outcome)
            left = list((dest / PRIVATE / "tmp").glob("*"))
            outcome.problems += [f"left half-written: {left}"] if left else []
        check_partial(campaign, dest, outcome)
        check_after(campaign, dest, outcome)
    return outcome


def clock_jumps(campaign: Campaign, num: int) -> Outcome:
    """A wall clock that jumps by years while encode runs and is killed, and files whose times are
    anything.
    """
    outcome = Outcome()
    for dest in destinations(campaign, outcome, num):
        fault = children.clock_jumps(campaign.rng.randrange(2**32))
        child = start(
            "encode", campaign.source, dest, *SMALL, log=campaign.home / "log", fault=fault
        )
        time.sleep(campaign.rng.uniform(0, 1.1 * campaign.seconds))
        child.kill()
        outcome.disturbed += child.wait().code == -signal.SIGKILL
        outcome.problems += wrong_code(campaign.encode(dest, fault=fault), 0)
        outcome.problems += wrong_code(campaign.index(dest, fault=fault), 0)
        for path in dest.rglob("*"):
            when = campaign.rng.randrange(0, 2**32)
            os.utime(path, (when, when))
        check_after(campaign, dest, outcome)
    return outcome


def two_at_once(campaign: Campaign, num: int) -> Outcome:
    """Two runs of the same command: one encodes, the other is told so, or finds the work done."""
    outcome = Outcome()
    for dest in destinations(campaign, outcome, num):
        logs = [campaign.home / f"log{number}" for number in range(2)]
        pair = []
        for log in logs:
            pair.append(start("encode", campaign.source, dest, *SMALL, log=log))
            time.sleep(campaign.rng.uniform(0, 0.5 * campaign.seconds))
        ended = [child.wait() for child in pair]
        refused = [done for done in ended if done.code]
        outcome.disturbed += bool(refused)
        if len(refused) == 2:
            outcome.problems.append(f"both were refused: {[done.output for done in ended]}")
        for done in refused:
            check_told(done, "another run is writing to", outcome)
        check_after(campaign, dest, outcome)
    return outcome
