"""Sources that are edited under a run or between two of them, and files that are emptied for a
while.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.faults.campaign import PRIVATE, Campaign, Outcome, expect, picture
from tests.faults.children import SMALL, start
from tests.faults.trials import check_after, check_source, check_told, destinations

#: Of the source that ``campaign`` makes: a broken picture, and one without a caption.
_REJECTED = {"0013", "0021"}

Kind = Callable[[Path, Path], Path]  #: (folder, home of the new source) -> SRC


def edits(campaign: Campaign, num: int) -> Outcome:
    """A caption, a picture or some of them change at a random moment of encode or of a resume.

    The run stops and names it, or has what was there; ``--update`` then makes what is there now.
    """
    outcome, rng = Outcome(), campaign.rng
    for dest in destinations(campaign, outcome, num):
        kind = rng.choice([_folder, _table, _tar])
        before = _sourced(campaign, kind)
        if rng.random() < 0.5:  # of a resume
            child = start("encode", before.source, dest, *SMALL, log=campaign.home / "log")
            time.sleep(rng.uniform(0, campaign.seconds))
            child.kill()
            child.wait()
        child = start("encode", before.source, dest, *SMALL, log=campaign.home / "log")
        time.sleep(rng.uniform(0, 1.1 * campaign.seconds))
        what = _edit(before.source, rng)
        done = child.wait()
        outcome.disturbed += done.code != 0
        if done.code:
            check_told(done, "Error", outcome)
        what = f"{kind.__name__}, {what}"
        _check_rejects(dest, outcome, what)
        after = replace(before, clean=campaign.home / "new")
        shutil.rmtree(after.clean, ignore_errors=True)
        expect(after.encode(after.clean), 0)
        expect(after.index(after.clean), 0)
        check_after(after, dest, outcome, "--update", what=what)
        check_source(after, dest, outcome, what=what)
    return outcome


def emptied(campaign: Campaign, num: int) -> Outcome:
    """Some files have no bytes for a while, as on a disk that was full: none is written off."""
    outcome, rng = Outcome(), campaign.rng
    for dest in destinations(campaign, outcome, num):
        during = _sourced(campaign, _folder)
        files = sorted(during.source.iterdir())
        child = start("encode", during.source, dest, *SMALL, log=campaign.home / "log")
        time.sleep(rng.uniform(0, 1.1 * campaign.seconds))
        some = rng.sample(files, rng.choice([1, 5, len(files)]))
        kept = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in some}
        is_listed = (dest / PRIVATE / "run.json").exists()  # earlier they are what is listed
        for file in some:
            os.truncate(file, 0)
        done = child.wait()
        outcome.disturbed += done.code != 0
        if done.code:
            check_told(done, "Error", outcome)
        if is_listed:
            _check_rejects(dest, outcome, f"emptied {len(some)} files")
        for file, (data, mtime_ns) in kept.items():
            file.write_bytes(data)
            os.utime(file, ns=(mtime_ns, mtime_ns))
        options = () if is_listed else ("--update",)
        check_after(during, dest, outcome, *options, what=f"emptied {len(some)} files")
        check_source(during, dest, outcome, what=f"emptied {len(some)} files")
    return outcome


def _sourced(campaign: Campaign, kind: Kind) -> Campaign:
    """With a source of its own."""
    home = campaign.home / "edited"
    shutil.rmtree(home, ignore_errors=True)
    return replace(campaign, source=kind(campaign.source, home))


def _folder(folder: Path, home: Path) -> Path:
    return Path(shutil.copytree(folder, home))


def _table(folder: Path, home: Path) -> Path:
    shutil.copytree(folder, home)
    rows = []
    for media in sorted(home.glob("*.jpg")):
        text = media.with_suffix(".txt")
        rows.append({"file": media.name, "key": media.stem})
        if text.exists():
            rows[-1]["caption"] = text.read_text()
            text.unlink()
    table = home / "rows.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return table


def _tar(folder: Path, home: Path) -> Path:
    home.mkdir()
    _pack({file.name: file.read_bytes() for file in sorted(folder.iterdir())}, home / "samples.tar")
    return home / "samples.tar"


def _pack(members: dict[str, bytes], path: Path) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def _edit(source: Path, rng: random.Random) -> str:
    """Change one sample or several, in place or by another file; say what."""
    chosen = sorted(
        rng.sample(sorted({f"{n:04d}" for n in range(40)} - _REJECTED), rng.choice([1, 3]))
    )
    part = rng.choice(["longer caption", "caption of the same size", "picture"])
    put = rng.choice([Path.write_bytes, _put_another])
    if source.suffix == ".jsonl" and part != "picture":
        rows = [json.loads(line) for line in source.read_text().splitlines()]
        for row in rows:
            if row["key"] in chosen:
                row["caption"] = _caption(row["caption"].encode(), part).decode()
        put(source, "".join(json.dumps(row) + "\n" for row in rows).encode())
    elif source.suffix == ".tar":
        with tarfile.open(source) as tar:
            members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        for key in chosen:
            name = f"{key}.jpg" if part == "picture" else f"{key}.txt"
            members[name] = picture(rng) if part == "picture" else _caption(members[name], part)
        _pack(members, source.with_suffix(".new"))
        data = source.with_suffix(".new").read_bytes()
        source.with_suffix(".new").unlink()
        put(source, data)
    else:
        folder = source if source.is_dir() else source.parent
        for key in chosen:
            file = folder / (f"{key}.jpg" if part == "picture" else f"{key}.txt")
            put(file, picture(rng) if part == "picture" else _caption(file.read_bytes(), part))
    return f"{part} of {' '.join(chosen)} by {put.__name__}"


def _caption(text: bytes, part: str) -> bytes:
    return text + b"more " if part == "longer caption" else text.swapcase()


def _put_another(path: Path, data: bytes) -> None:
    other = path.with_name(f"{path.name}.part")
    other.write_bytes(data)
    other.replace(path)


def _check_rejects(dest: Path, outcome: Outcome, what: str) -> None:
    """Nothing but what is wrong by itself is written off."""
    for path in (dest / PRIVATE / "rejects").glob("*"):
        for line in path.read_text().splitlines():
            if json.loads(line)["key"] not in _REJECTED:
                outcome.problems.append(f"{what}: written off: {line}")
