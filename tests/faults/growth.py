"""A source that grows while it is encoded."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from tests.faults.campaign import NUM_SAMPLES, Campaign, Outcome, expect
from tests.faults.children import SMALL, Child, Done, start
from tests.faults.trials import check_verified, contents, destinations, wrong_code

_NUM_NEW = 9  #: the last of the old shards is filled up, one is full, the last is short
_GROWN = "has grown by 9 samples; the first: 0019more/"


def sources_grown(campaign: Campaign, num: int) -> Outcome:
    """A folder comes into the source at a random moment of encode or of its resume. Where it was
    planned without, the same command is refused, and ``--extend``, killed or not, appends it.
    """
    outcome, grown = Outcome(), _Grown(campaign)
    for dest in destinations(campaign, outcome, num):
        outcome.problems += grown.problems_of_trial(dest)
        outcome.disturbed += grown.was_refused
    return outcome


class _Grown:
    """A source, a folder that comes into it, and the two datasets that there are of both."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self._source = campaign.home / "growing"
        self._new, self._away = self._source / "0019more", campaign.home / "more"
        self.was_refused = False
        shutil.copytree(campaign.source, self._source)
        self._away.mkdir()
        for path in sorted(self._source.iterdir())[: 2 * _NUM_NEW]:
            shutil.copyfile(path, self._away / path.name)
        self._late, self._whole = campaign.home / "late", campaign.home / "whole"
        expect(self._encode(self._late), 0)
        self._away.rename(self._new)
        expect(self._encode(self._late, "--extend"), 0)
        expect(self._encode(self._whole), 0)
        for dest in (self._late, self._whole):
            expect(campaign.index(dest), 0)

    def problems_of_trial(self, dest: Path) -> list[str]:
        """One trial; returns what is wrong."""
        campaign, rng = self._campaign, self._campaign.rng
        self._new.rename(self._away)
        if rng.random() < 0.5:  # of a resume
            self._killed(dest)
        child = self._start(dest)
        time.sleep(rng.uniform(0, 1.1 * campaign.seconds))
        self._away.rename(self._new)
        if rng.random() < 0.5:
            child.kill()
        child.wait()
        again = self._encode(dest)
        self.was_refused = again.code != 0
        problems = []
        if again.code:
            problems += wrong_code(again, 1)
            if _GROWN not in again.output or "--extend" not in again.output:
                problems.append(f"a grown source is told as {again.output[-1500:]}")
        for _ in range(rng.choice([0, 0, 1, 2])):
            self._killed(dest, "--extend")
        done = self._encode(dest, "--extend")
        problems += wrong_code(done, 0)
        total = NUM_SAMPLES + _NUM_NEW
        if f"{total} samples in = {total - 2} written + 2 rejected" not in done.output:
            problems.append(f"not accounted for: {done.output}")
        problems += wrong_code(campaign.index(dest), 0)
        verified = Outcome()
        check_verified(campaign, dest, verified)
        expected = contents(self._late if self.was_refused else self._whole)
        found = contents(dest)
        differ = sorted(
            name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)
        )
        return [*problems, *verified.problems, *([f"differ: {differ}"] if differ else [])]

    def _killed(self, dest: Path, *more: str) -> None:
        child = self._start(dest, *more)
        time.sleep(self._campaign.rng.uniform(0, 1.1 * self._campaign.seconds))
        child.kill()
        child.wait()

    def _start(self, dest: Path, *more: str) -> Child:
        log = self._campaign.home / "log"
        return start("encode", self._source, dest, *SMALL, *more, log=log)

    def _encode(self, dest: Path, *more: str) -> Done:
        return self._start(dest, *more).wait()
