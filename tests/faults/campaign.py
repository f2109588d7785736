"""Puts faults into encode and index, and holds what the same command then makes of it against an
undisturbed run.

After every trial: what carried a final name was whole; the command ends with exit code 0;
``verify --deep`` is clean; every file of the dataset is the same to the byte (index.sqlite: to the
row); samples in = written + rejected.
"""

from __future__ import annotations

import errno
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tests.faults import children
from tests.faults.children import SMALL, Done, Fault, run, start

NUM_SAMPLES = 40
_PRIVATE = ".energon-prep"
#: What differs from run to run by its nature: times, the lock, what was set aside.
_TIMES = ("run.json", "ledger.json", "lock", "plan.partial.jsonl")


@dataclass
class Outcome:
    """What the trials of one scenario showed."""

    trials: int = 0
    disturbed: int = 0  #: trials in which the fault did stop or change the first run
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Campaign:
    """The undisturbed run that every trial is held against."""

    home: Path
    source: Path
    clean: Path  #: encoded and indexed
    seconds: float  #: of encoding, undisturbed
    index_seconds: float
    rng: random.Random

    def encode(self, dest: Path, fault: Fault | None = None) -> Done:
        return run("encode", self.source, dest, *SMALL, log=self.home / "log", fault=fault)

    def index(self, dest: Path, fault: Fault | None = None) -> Done:
        return run("index", dest, "--split", "2,1,0", log=self.home / "log", fault=fault)


def prepare(home: Path, seed: int) -> Campaign:
    """Make the source and encode it undisturbed, twice: the first run finds cold caches."""
    children.warm_up()
    rng = random.Random(seed)
    source = home / "source"
    _make_source(source)
    plain = Campaign(
        home=home, source=source, clean=home / "clean", seconds=0, index_seconds=0, rng=rng
    )
    _expect(plain.encode(home / "cold"), 0)
    encoded = _expect(plain.encode(plain.clean), 0)
    indexed = _expect(plain.index(plain.clean), 0)
    return Campaign(
        home=home,
        source=source,
        clean=plain.clean,
        seconds=encoded.seconds,
        index_seconds=indexed.seconds,
        rng=rng,
    )


def kills_of_encode(campaign: Campaign, num: int) -> Outcome:
    """kill -9, or a segfault, at moments drawn evenly from the run's duration, one to three times
    before it may end.
    """
    outcome = Outcome()
    for dest in _destinations(campaign, outcome, num):
        for _ in range(campaign.rng.choice([1, 1, 2, 3])):
            child = start("encode", campaign.source, dest, *SMALL, log=campaign.home / "log")
            time.sleep(campaign.rng.uniform(0, 1.1 * campaign.seconds))
            child.kill(campaign.rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSEGV]))
            outcome.disturbed += child.wait().code < 0
            _check_partial(campaign, dest, outcome)
        _check_after(campaign, dest, outcome)
    return outcome


def kills_of_index(campaign: Campaign, num: int) -> Outcome:
    """The same of index, over a dataset that is encoded, or that is indexed for another split."""
    outcome = Outcome()
    for dest in _destinations(campaign, outcome, num, encoded=True):
        child = start("index", dest, "--split", "2,1,0", log=campaign.home / "log")
        time.sleep(campaign.rng.uniform(0, 1.1 * campaign.index_seconds))
        child.kill()
        outcome.disturbed += child.wait().code == -signal.SIGKILL
        _check_after(campaign, dest, outcome)
    return outcome


def kills_at_calls(campaign: Campaign, command: str, step: int) -> Outcome:
    """kill -9 just before each (``step``-th) write, fsync and rename: between tar, .idx, rows and
    ledger too.
    """
    outcome = Outcome()
    for number, dest in _at_each_call(campaign, outcome, command, step):
        done = getattr(campaign, command)(dest, children.at_call(number, children.die))
        outcome.disturbed += done.code == -signal.SIGKILL
        _check_partial(campaign, dest, outcome)
        _check_after(campaign, dest, outcome)
    return outcome


def full_disk_at_calls(campaign: Campaign, command: str, step: int) -> Outcome:
    """No space left on device from each (``step``-th) such call on."""
    outcome = Outcome()
    for number, dest in _at_each_call(campaign, outcome, command, step):
        done = getattr(campaign, command)(dest, children.at_call(number, children.disk_is_full))
        outcome.disturbed += done.code != 0
        _check_told(done, "No space left on device", outcome)
        _check_partial(campaign, dest, outcome)
        _check_after(campaign, dest, outcome)
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
                _check_told(done, "", outcome)
            _check_partial(campaign, dest, outcome)
            subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
            _check_after(campaign, dest, outcome)
        finally:
            subprocess.run(["umount", str(place)], check=True)
    return outcome


def stops(campaign: Campaign, num: int) -> Outcome:
    """SIGTERM, as Slurm sends it before the time is up: exit code 1, a sentence, and nothing
    half-written left.
    """
    outcome = Outcome()
    for dest in _destinations(campaign, outcome, num):
        fault = children.slow_reads(0.01)
        child = start(
            "encode", campaign.source, dest, *SMALL, log=campaign.home / "log", fault=fault
        )
        _wait_for(
            dest
            / campaign.rng.choice([f"{_PRIVATE}/run.json", "shard_000000.tar", "shard_000002.tar"])
        )
        child.kill(signal.SIGTERM)
        done = child.wait()
        if done.code:
            outcome.disturbed += 1
            _check_told(done, "stopped: ", outcome)
            left = list((dest / _PRIVATE / "tmp").glob("*"))
            outcome.problems += [f"left half-written: {left}"] if left else []
        _check_partial(campaign, dest, outcome)
        _check_after(campaign, dest, outcome)
    return outcome


def read_errors(campaign: Campaign) -> Outcome:
    """EIO that passes, EIO that stays, a mount that is lost, and reads that are slow."""
    outcome = Outcome()
    last = children.fails(errno.EIO, times=2)
    for dest in _destinations(campaign, outcome, 1):
        outcome.problems += _wrong_code(
            campaign.encode(dest, children.at_open("0007.jpg", last)), 0
        )
        _check_after(campaign, dest, outcome)
    for dest in _destinations(campaign, outcome, 1):
        done = campaign.encode(
            dest, children.at_open("0008.jpg", children.fails(errno.ESTALE, times=99))
        )
        outcome.disturbed += done.code == 1
        _check_told(done, "no fault of the sample", outcome)
        _check_after(campaign, dest, outcome)
    for dest in _destinations(campaign, outcome, 1):
        outcome.problems += _wrong_code(
            campaign.encode(dest, children.at_open("0009.jpg", _slow)), 0
        )
        _check_after(campaign, dest, outcome)
    for dest in _destinations(campaign, outcome, 1):
        stays = children.fails(errno.EIO, times=99)
        outcome.problems += _wrong_code(
            campaign.encode(dest, children.at_open("0010.jpg", stays)), 0
        )
        rejects = [
            line
            for path in (dest / _PRIVATE / "rejects").iterdir()
            for line in path.read_text().splitlines()
        ]
        told = [json.loads(line)["reason"] for line in rejects if '"0010"' in line]
        if told != ["cannot be read: Input/output error"]:
            outcome.problems.append(f"a sample on a broken sector is accounted for as {told}")
        _check_verified(campaign, dest, outcome)
        same = [
            path.name
            for path in dest.glob("*.tar")
            if path.read_bytes() == _clean(campaign, path.name)
        ]
        if len(same) != len(list(campaign.clean.glob("*.tar"))) - 1:
            outcome.problems.append(
                f"a broken sector changed other shards than its own: only {same} are as they were"
            )
    return outcome


def clock_jumps(campaign: Campaign, num: int) -> Outcome:
    """A wall clock that jumps by years while encode runs and is killed, and files whose times are
    anything.
    """
    outcome = Outcome()
    for dest in _destinations(campaign, outcome, num):
        fault = children.clock_jumps(campaign.rng.randrange(2**32))
        child = start(
            "encode", campaign.source, dest, *SMALL, log=campaign.home / "log", fault=fault
        )
        time.sleep(campaign.rng.uniform(0, 1.1 * campaign.seconds))
        child.kill()
        outcome.disturbed += child.wait().code == -signal.SIGKILL
        outcome.problems += _wrong_code(campaign.encode(dest, fault), 0)
        outcome.problems += _wrong_code(campaign.index(dest, fault), 0)
        for path in dest.rglob("*"):
            when = campaign.rng.randrange(0, 2**32)
            os.utime(path, (when, when))
        _check_after(campaign, dest, outcome)
    return outcome


def damages(campaign: Campaign, num: int) -> Outcome:
    """A bit flipped in, or the end cut off, a file of a finished dataset: found, set aside, made
    again to the byte.
    """
    outcome = Outcome()
    tars = [path.relative_to(campaign.clean) for path in sorted(campaign.clean.rglob("shard_*"))]
    flippable = [path for path in tars if path.suffix in (".tar", ".idx", ".rows")]
    others = [Path(_PRIVATE) / "plan.jsonl", Path(_PRIVATE) / "empty_caption.pickle"]
    for dest in _destinations(campaign, outcome, num, encoded=True, indexed=True):
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
        _check_after(campaign, dest, outcome, what=f"{name}: {what}")
    return outcome


def two_at_once(campaign: Campaign, num: int) -> Outcome:
    """Two runs of the same command: one encodes, the other is told so, or finds the work done."""
    outcome = Outcome()
    for dest in _destinations(campaign, outcome, num):
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
            _check_told(done, "another run is writing to", outcome)
        _check_after(campaign, dest, outcome)
    return outcome


def sources_away(campaign: Campaign, num: int) -> Outcome:
    """At a random moment the source is moved away, emptied as by an unmount, or lacks a listed file
    of media; the same command is refused until it is back.
    """
    outcome = Outcome()
    for dest in _destinations(campaign, outcome, num):
        if campaign.rng.random() < 0.5:  # of a resume
            child = start("encode", campaign.source, dest, *SMALL, log=campaign.home / "log")
            time.sleep(campaign.rng.uniform(0, campaign.seconds))
            child.kill()
            child.wait()
        take = campaign.rng.choice([_moved, _emptied, _one_file_gone])
        child = start("encode", campaign.source, dest, *SMALL, log=campaign.home / "log")
        if take is _one_file_gone:  # earlier it would be no part of the source
            _wait_for(dest / _PRIVATE / "run.json")
        time.sleep(campaign.rng.uniform(0, 1.1 * campaign.seconds))
        with take(campaign):
            done = child.wait()
            outcome.disturbed += done.code != 0
            if done.code:
                _check_told(done, "Error", outcome)
            _check_told(campaign.encode(dest), "Error", outcome)
            _check_partial(campaign, dest, outcome)
        _check_after(campaign, dest, outcome, what=take.__name__)
    return outcome


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


def _make_source(root: Path) -> None:
    """Tiny JPEGs with captions; one is broken, one has no caption, and a shard's worth is too dull
    to differ.
    """
    rng = random.Random(0)
    root.mkdir(parents=True)
    for number in range(NUM_SAMPLES):
        buffer = io.BytesIO()
        size = rng.choice([(80, 60), (60, 80), (70, 70)])
        Image.frombytes("RGB", size, rng.randbytes(3 * size[0] * size[1])).save(buffer, "JPEG")
        media = buffer.getvalue() if number != 13 else buffer.getvalue()[:100]
        (root / f"{number:04d}.jpg").write_bytes(media)
        if number != 21:
            (root / f"{number:04d}.txt").write_text("word " * rng.randrange(1, 9))


def _destinations(
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


def _at_each_call(
    campaign: Campaign, outcome: Outcome, command: str, step: int
) -> Iterator[tuple[int, Path]]:
    encoded = command == "index"
    log = campaign.home / "calls"
    for dest in _destinations(campaign, Outcome(), 1, encoded=encoded):
        _expect(getattr(campaign, command)(dest, children.count_calls(log)), 0)
    for number in range(1, log.stat().st_size + 1, step):
        for dest in _destinations(campaign, outcome, 1, encoded=encoded):
            yield number, dest


def _check_partial(campaign: Campaign, dest: Path, outcome: Outcome) -> None:
    """What carries a final name is whole."""
    for path in dest.glob("shard_*"):
        if path.read_bytes() != _clean(campaign, path.name):
            outcome.problems.append(
                f"{path.name} has a final name and other bytes than the undisturbed run's"
            )


def _check_after(campaign: Campaign, dest: Path, outcome: Outcome, *, what: str = "") -> None:
    """Run the same command again, index, verify, compare."""
    done = campaign.encode(dest)
    problems = _wrong_code(done, 0)
    if f"{NUM_SAMPLES} samples in = {NUM_SAMPLES - 2} written + 2 rejected" not in done.output:
        problems.append(f"not accounted for: {done.output}")
    problems += _wrong_code(campaign.index(dest), 0)
    outcome.problems += [f"{what}: {problem}" if what else problem for problem in problems]
    _check_verified(campaign, dest, outcome)
    left = list((dest / _PRIVATE / "tmp").glob("*"))
    ours, theirs = _contents(dest), _contents(campaign.clean)
    differ = sorted(
        name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)
    )
    if differ or left:
        outcome.problems.append(f"{what} differ: {differ}, left over: {left}")


def _check_verified(campaign: Campaign, dest: Path, outcome: Outcome) -> None:
    for depth in ("--quick", "--deep"):
        outcome.problems += _wrong_code(run("verify", dest, depth, log=campaign.home / "log"), 0)


def _check_told(done: Done, text: str, outcome: Outcome) -> None:
    """An error is a sentence, not a traceback, and ends with exit code 1."""
    if done.code != 1 or text not in done.output or "Traceback" in done.output:
        outcome.problems.append(
            f"exit code {done.code}, and not {text!r} but: {done.output[-1500:]}"
        )


def _wrong_code(done: Done, code: int) -> list[str]:
    return [] if done.code == code else [f"exit code {done.code}: {done.output[-1500:]}"]


def _expect(done: Done, code: int) -> Done:
    assert done.code == code, done.output
    return done


def _contents(root: Path) -> dict[str, object]:
    """Every file that should be equal, by name; times, the lock and what was set aside are left
    out.
    """
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if (
            not path.is_file()
            or path.name in _TIMES
            or f"{_PRIVATE}/bad/" in name
            or "/tmp/" in name
        ):
            continue
        if path.suffix == ".sqlite":
            with closing(sqlite3.connect(path)) as connection:
                found[name] = list(connection.iterdump())
        elif "ledger/" in name and path.suffix == ".json":
            found[name] = {**json.loads(path.read_bytes()), "mtime_ns": None}
        else:
            found[name] = path.read_bytes()
    return found


def _clean(campaign: Campaign, name: str) -> bytes | None:
    path = campaign.clean / name
    return path.read_bytes() if path.exists() else None


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


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.0005)


def _slow(_: int) -> None:
    time.sleep(1)


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
    }
