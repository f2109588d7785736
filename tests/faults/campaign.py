"""The undisturbed run that faults in encode and index are held against."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tests.faults import children
from tests.faults.children import SMALL, Done, Fault, run

NUM_SAMPLES = 40
PRIVATE = ".energon-prep"


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

    def encode(self, dest: Path, *options: str, fault: Fault | None = None) -> Done:
        arguments = ("encode", self.source, dest, *SMALL, *options)
        return run(*arguments, log=self.home / "log", fault=fault)

    def index(self, dest: Path, *, fault: Fault | None = None) -> Done:
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
    expect(plain.encode(home / "cold"), 0)
    encoded = expect(plain.encode(plain.clean), 0)
    indexed = expect(plain.index(plain.clean), 0)
    return Campaign(
        home=home,
        source=source,
        clean=plain.clean,
        seconds=encoded.seconds,
        index_seconds=indexed.seconds,
        rng=rng,
    )


def _make_source(root: Path) -> None:
    """Tiny JPEGs with captions; one is broken, one has no caption, and a shard's worth is too dull
    to differ.
    """
    rng = random.Random(0)
    root.mkdir(parents=True)
    for number in range(NUM_SAMPLES):
        media = picture(rng)
        (root / f"{number:04d}.jpg").write_bytes(media if number != 13 else media[:100])
        if number != 21:
            (root / f"{number:04d}.txt").write_text("word " * rng.randrange(1, 9))


def picture(rng: random.Random) -> bytes:
    buffer = io.BytesIO()
    size = rng.choice([(80, 60), (60, 80), (70, 70)])
    Image.frombytes("RGB", size, rng.randbytes(3 * size[0] * size[1])).save(buffer, "JPEG")
    return buffer.getvalue()


def expect(done: Done, code: int) -> Done:
    assert done.code == code, done.output
    return done
