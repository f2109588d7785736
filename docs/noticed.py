"""Makes the table of resilience.md: damages every file of a dataset in every way, and verifies it.

python -m docs.noticed          prints the table
python -m docs.noticed --write  puts it into resilience.md, between its marks
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

import energon_prep
from docs.pages import Page, arguments
from energon_prep.errors import PrepError

PAGE = Page(
    "resilience.md", marks=("<!-- noticed: made by docs/noticed.py -->", "<!-- end of noticed -->")
)

PRIVATE, META = ".energon-prep", ".nv-meta"

#: Files by what they are; {} is the number of a shard.
FILES = {
    "tar": "shard_{:06d}.tar",
    ".idx": "shard_{:06d}.tar.idx",
    "index rows": PRIVATE + "/ledger/shard_{:06d}.rows",
    "ledger entry": PRIVATE + "/ledger/shard_{:06d}.json",
    "rejects": PRIVATE + "/rejects/shard_{:06d}.jsonl",
    "ledger's head": f"{PRIVATE}/ledger.json",
    "run.json": f"{PRIVATE}/run.json",
    "plan": f"{PRIVATE}/plan.jsonl",
    "empty caption": f"{PRIVATE}/empty_caption.pickle",
    "lock": f"{PRIVATE}/lock",
    ".info.json": f"{META}/.info.json",
    ".info.yaml": f"{META}/.info.yaml",
    "split.yaml": f"{META}/split.yaml",
    "dataset.yaml": f"{META}/dataset.yaml",
    "index.sqlite": f"{META}/index.sqlite",
    "index.uuid": f"{META}/index.uuid",
}
OF_A_SHARD = ("tar", ".idx", "index rows", "ledger entry", "rejects")
WAYS = ("bits flipped", "cut", "removed", "another dataset's", "swapped")

#: Why what is not noticed does no harm; that it is so is held against ``is_harmless``.
HARMLESS = {
    "ledger entry": "the tar's time in it, by which `index` decides whether to look at headers, or "
    "how its JSON is laid out",
    "ledger's head": "how its JSON is laid out",
    "lock": "what is in it is told to a second run, and decides nothing",
    ".info.json": "the version of Energon in it, which nobody reads, or how its JSON is laid out",
    ".info.yaml": "how its YAML is laid out",
    "split.yaml": "how its YAML is laid out; which split a shard is in is yours to edit",
    "index.sqlite": "bytes that sqlite does not use; all rows are held against the tars",
}


@dataclass(frozen=True)
class Trial:
    """One damaged dataset."""

    what: str
    way: str
    quick: bool  #: noticed by verify --quick
    deep: bool  #: noticed by verify --deep
    harmless: bool  #: shown to be so


def make_dataset(folder: Path, *, seed: int) -> Path:
    """12 tiny samples in 3 shards, of which each has a reject."""
    rng = np.random.default_rng(seed)
    source, dest = folder / f"source-{seed}", folder / f"set-{seed}"
    source.mkdir()
    for number in range(12):
        pixels = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(source / f"{number:02d}.png")
        (source / f"{number:02d}.txt").write_text("word " * (1 + (2 + seed) * number % 11))
        if number % 4 == 1:
            (source / f"{number:02d}.png").write_bytes(rng.bytes(100 + seed))
    changes = {"resize.resolution": 64, "samples_per_shard": 4, "text.max_tokens": 16 + seed}
    energon_prep.encode(source, dest, weights="tiny", torch_threads=1, set=changes, progress=False)
    energon_prep.index(dest, split="2,1,0" if seed else "1,1,1", progress=False)
    return dest


def trials(folder: Path, *, flips: int) -> Iterator[Trial]:
    """Every file in every way, ``flips`` times where a bit is flipped or the end cut off."""
    clean, other = make_dataset(folder, seed=0), make_dataset(folder, seed=1)
    rng = random.Random(0)
    for what, pattern in FILES.items():
        for way in WAYS:
            if way == "swapped" and what not in OF_A_SHARD:
                continue
            for number in range(flips if way in WAYS[:2] else 1):
                root = Path(shutil.copytree(clean, folder / "damaged"))
                damage(root, pattern, way, other, shard=number % 3, rng=rng)
                name = pattern.format(number % 3)
                if not _same(root / name, clean / name):  # all datasets of a target share some
                    yield judge(root, clean, name, what, way)
                shutil.rmtree(root)
    for way in ("another dataset's", "swapped"):
        root = Path(shutil.copytree(clean, folder / "damaged"))
        for what in OF_A_SHARD:
            damage(root, FILES[what], way, other, shard=0, rng=rng)
        yield judge(root, clean, "", "a shard with all its records", way)
        shutil.rmtree(root)


def _same(damaged: Path, clean: Path) -> bool:
    return damaged.exists() and damaged.read_bytes() == clean.read_bytes()


def damage(
    root: Path, pattern: str, way: str, other: Path, *, shard: int, rng: random.Random
) -> None:
    path = root / pattern.format(shard)
    if way == "bits flipped":
        data = bytearray(path.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
    elif way == "cut":
        os.truncate(path, rng.randrange(path.stat().st_size))
    elif way == "removed":
        path.unlink()
    elif way == "another dataset's":
        shutil.copyfile(other / pattern.format(shard), path)
    else:
        _swap(root, pattern, shard, (shard + 1) % 3)


def _swap(root: Path, pattern: str, one: int, other: int) -> None:
    """A ledger's entry is made to fit its new place, as somebody would who does it on purpose."""
    paths = [root / pattern.format(number) for number in (one, other)]
    contents = [path.read_bytes() for path in paths]
    if pattern == FILES["ledger entry"]:
        entries = [json.loads(content) for content in contents]
        places = [{"index": e["index"], "shard": e["shard"]} for e in reversed(entries)]
        contents = [json.dumps(e | p).encode() for e, p in zip(entries, places, strict=True)]
    for path, content in zip(paths, reversed(contents), strict=True):
        path.write_bytes(content)


def judge(root: Path, clean: Path, name: str, what: str, way: str) -> Trial:
    quick, deep = (_notices(root, deep=deep) for deep in (False, True))
    harmless = not deep and is_harmless(what, root / name, clean / name)
    return Trial(what, way, quick, deep, harmless)


def _notices(root: Path, *, deep: bool) -> bool:
    """A problem, a note that a sound dataset does not get, or a refusal that names it."""
    try:
        report = energon_prep.verify(root, deep=deep, workers=1, progress=False)
    except PrepError:
        return True
    return not report.ok or any("made-up weights" not in note for note in report.notes)


def is_harmless(what: str, damaged: Path, clean: Path) -> bool:
    """Whether nobody who reads the dataset can come to other results."""
    if what == "lock":
        return True
    if not damaged.exists():
        return False
    try:
        return bool(_meaning(what, damaged) == _meaning(what, clean))
    except (ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError, sqlite3.Error):
        return False


def _meaning(what: str, path: Path) -> Any:
    if what == "ledger entry":
        return {**json.loads(path.read_bytes()), "mtime_ns": None}
    if what == "ledger's head":
        return json.loads(path.read_bytes())
    if what == ".info.json":
        return json.loads(path.read_bytes())["shard_counts"]
    if what in (".info.yaml", "dataset.yaml"):
        return yaml.safe_load(path.read_text())
    if what == "split.yaml":
        parts = yaml.safe_load(path.read_text())["split_parts"]
        return sorted(tar for part in parts.values() for tar in _spread(part))
    if what == "index.sqlite":
        with closing(sqlite3.connect(path)) as connection:
            return [*connection.iterdump(), *connection.execute("PRAGMA user_version")]
    return path.read_bytes()


def _spread(part: list[str]) -> Iterator[str]:
    from braceexpand import braceexpand

    for item in part:
        yield from braceexpand(item)


def table(folder: Path, *, flips: int, tell: Callable[[Trial], object] = lambda _: None) -> str:
    """Raises AssertionError if something is neither noticed nor harmless."""
    found: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials(folder, flips=flips):
        assert trial.deep or (trial.harmless and trial.what in HARMLESS), trial
        tell(trial)
        found.setdefault((trial.what, trial.way), []).append(trial)
    rows = [f"| | {' | '.join(WAYS)} |", "|---" * (1 + len(WAYS)) + "|"]
    letters = {what: chr(ord("a") + number) for number, what in enumerate(HARMLESS)}
    for what in dict.fromkeys(what for what, _ in found):
        cells = [_cell(found.get((what, way), []), letters.get(what)) for way in WAYS]
        rows.append(f"| {what} | {' | '.join(cells)} |")
    why = [f"({letters[what]}) {what}: {reason}." for what, reason in HARMLESS.items()]
    return "\n".join([*rows, "", *(f"{line}  " for line in why)]).rstrip()


def _cell(made: list[Trial], letter: str | None) -> str:
    """What is true of all trials; where some are harmless, of all that might not be."""
    if not made:
        return ""
    depth = "quick" if all(trial.quick for trial in made) else "deep"
    if letter is not None and made[0].way in WAYS[:2]:
        return f"or ({letter})"  # what a bit or a cut hits is a matter of chance
    return f"({letter})" if not all(trial.deep for trial in made) else depth


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--flips", type=int, default=8, help="and cuts of each file")
    options = parser.parse_args()
    told: list[Trial] = []
    with tempfile.TemporaryDirectory() as folder:
        made = table(Path(folder), flips=options.flips, tell=told.append)
    harmless = sum(not trial.deep for trial in told)
    PAGE.offer(made, write=options.write)
    print(f"{len(told)} damages: {len(told) - harmless} noticed, {harmless} harmless")


if __name__ == "__main__":
    main()
