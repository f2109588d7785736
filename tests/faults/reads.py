"""Sources that cannot be read, or that go away."""

from __future__ import annotations

import errno
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tests.faults import children
from tests.faults.campaign import PRIVATE, Campaign, Outcome
from tests.faults.children import SMALL, start
from tests.faults.trials import (
    check_after,
    check_partial,
    check_told,
    check_verified,
    clean_bytes,
    destinations,
    wait_for,
    wrong_code,
)


def read_errors(campaign: Campaign) -> Outcome:
    """EIO that passes, EIO that stays, a mount that is lost, and reads that are slow."""
    outcome = Outcome()
    last = children.fails(errno.EIO, times=2)
    for dest in destinations(campaign, outcome, 1):
        outcome.problems += wrong_code(
            campaign.encode(dest, fault=children.at_open("0007.jpg", last)), 0
        )
        check_after(campaign, dest, outcome)
    for dest in destinations(campaign, outcome, 1):
        done = campaign.encode(
            dest, fault=children.at_open("0008.jpg", children.fails(errno.ESTALE, times=99))
        )
        outcome.disturbed += done.code == 1
        check_told(done, "no fault of the sample", outcome)
        check_after(campaign, dest, outcome)
    for dest in destinations(campaign, outcome, 1):
        outcome.problems += wrong_code(
            campaign.encode(dest, fault=children.at_open("0009.jpg", _slow)), 0
        )
        check_after(campaign, dest, outcome)
    for dest in destinations(campaign, outcome, 1):
        stays = children.fails(errno.EIO, times=99)
        outcome.problems += wrong_code(
            campaign.encode(dest, fault=children.at_open("0010.jpg", stays)), 0
        )
        rejects = [
            line
            for path in (dest / PRIVATE / "rejects").iterdir()
            for line in path.read_text().splitlines()
        ]
        told = [json.loads(line)["reason"] for line in rejects if '"0010"' in line]
        if told != ["cannot be read: Input/output error"]:
            outcome.problems.append(f"a sample on a broken sector is accounted for as {told}")
        check_verified(campaign, dest, outcome)
        same = [
            path.name
            for path in dest.glob("*.tar")
            if path.read_bytes() == clean_bytes(campaign, path.name)
        ]
        if len(same) != len(list(campaign.clean.glob("*.tar"))) - 1:
            outcome.problems.append(
                f"a broken sector changed other shards than its own: only {same} are as they were"
            )
    return outcome


def _slow(_: int) -> None:
    time.sleep(1)


def sources_away(campaign: Campaign, num: int) -> Outcome:
    """At a random moment the source is moved away, emptied as by an unmount, or lacks a listed file
    of media; the same command is refused until it is back.
    """
    outcome = Outcome()
    for dest in destinations(campaign, outcome, num):
        if campaign.rng.random() < 0.5:  # of a resume
            child = start("encode", campaign.source, dest, *SMALL, log=campaign.home / "log")
            time.sleep(campaign.rng.uniform(0, campaign.seconds))
            child.kill()
            child.wait()
        take = campaign.rng.choice([_moved, _emptied, _one_file_gone])
        child = start("encode", campaign.source, dest, *SMALL, log=campaign.home / "log")
        if take is _one_file_gone:  # earlier it would be no part of the source
            wait_for(dest / PRIVATE / "run.json")
        time.sleep(campaign.rng.uniform(0, 1.1 * campaign.seconds))
        with take(campaign):
            done = child.wait()
            outcome.disturbed += done.code != 0
            if done.code:
                check_told(done, "Error", outcome)
            check_told(campaign.encode(dest), "Error", outcome)
            check_partial(campaign, dest, outcome)
        check_after(campaign, dest, outcome, what=take.__name__)
    return outcome


def unmounts(campaign: Campaign, num: int) -> Outcome | None:
    """The source is a mount, which is lost at a random moment, and comes back; None where mounting
    is not permitted.
    """
    outcome, place = Outcome(), campaign.home / "mount"
    place.mkdir()
    during = replace(campaign, source=place)
    for dest in destinations(campaign, outcome, num):
        if not _mount("--bind", campaign.source, place):
            return None
        is_mounted = True
        try:
            child = start("encode", place, dest, *SMALL, log=campaign.home / "log")
            time.sleep(campaign.rng.uniform(0, 1.1 * campaign.seconds))
            subprocess.run(["umount", "-l", place], check=True)
            is_mounted = False
            done = child.wait()
            outcome.disturbed += done.code != 0
            if done.code:
                check_told(done, "Error", outcome)
            check_told(during.encode(dest), "Error", outcome)
            check_partial(campaign, dest, outcome)
            is_mounted = _mount("--bind", campaign.source, place)
            check_after(during, dest, outcome, what="unmounted")
        finally:
            if is_mounted:
                subprocess.run(["umount", place], check=True)
    return outcome


def _mount(*arguments: object) -> bool:
    command = ["mount", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def _moved(campaign: Campaign) -> Iterator[None]:
    away = campaign.source.rename(campaign.home / "away")
    try:
        yield
    finally:
        away.rename(campaign.source)


@contextmanager
def _emptied(campaign: Campaign) -> Iterator[None]:
    with _moved(campaign):
        campaign.source.mkdir()
        try:
            yield
        finally:
            campaign.source.rmdir()


@contextmanager
def _one_file_gone(campaign: Campaign) -> Iterator[None]:
    file = campaign.rng.choice(sorted(campaign.source.glob("*.jpg")))
    away = file.rename(campaign.home / "away")
    try:
        yield
    finally:
        away.rename(file)
