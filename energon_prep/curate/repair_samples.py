"""The samples of a tar as they were meant, wherever in it their parts lie; new keys for them."""

from __future__ import annotations

import re
import sqlite3
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from energon_prep.indexing.scan import Oddities, Parts, merge_oddities, odd_parts
from energon_prep.indexing.tars import split_name
from energon_prep.tar_headers import BLOCK, Damage, Member, scan_members

#: Part names with a dot in them, as the trainers' contracts have them, at the end of a name.
_DOTTED = re.compile(
    r"[.]((?:latents|prompt_embeds|pooled_prompt_embeds|mean|logvar|caption|t5|clip)[.]\w+)$"
)
#: what is not printable ASCII, and what Energon cuts names at
_UNFIT_KEY = re.compile(r"[^ -~]|[.\\]")
_FALLBACK = "samples/fixed"  #: of a key of which nothing usable is left
_UNFIT_PART = re.compile(r"[^!-.0-~]|\\")


@dataclass(slots=True)
class SampleParts:
    """Where the parts of one sample lie."""

    key: str
    parts: dict[str, tuple[int, int]]  #: part -> offset and size
    ends: int  #: number of its last member in the tar
    scattered: bool = False  #: its parts are not adjacent


@dataclass(kw_only=True)
class Found:
    """What is in one tar."""

    samples: list[SampleParts] = field(default_factory=list)
    oddities: Oddities = field(default_factory=dict)  #: what is no part of a sample
    lost: list[str] = field(default_factory=list)
    torn: str = ""  #: the member within which the tar was cut


def read_samples(path: Path, tar: str, *, most_bytes: int) -> Found:
    """The samples in the order of their first members. ``tar``: how messages call it. Reads headers
    only.
    """
    found = Found()
    members = list(_members(path, tar, found))
    odd = _odd(members)

    def split(name: str) -> tuple[str, str]:
        key, part = split_name(name) or ("", "")
        return _meant(name) if part in odd else (key, part)

    current: dict[str, SampleParts] = {}
    for number, member in enumerate(members):
        key, part = split(member.name)
        part = _UNFIT_PART.sub("_", part)
        sample = current.get(key)
        # the same part again: a second sample of that key
        if sample is None or part in sample.parts:
            sample = current[key] = SampleParts(key, {}, number)
            found.samples.append(sample)
        elif sample.ends != number - 1:
            sample.scattered = True
        sample.parts[part] = (member.data, member.size)
        sample.ends = number
    if found.lost and found.samples:
        _drop_torn(found, split(found.torn)[0])
    _drop_large(found, most_bytes)
    return found


def _members(path: Path, tar: str, found: Found) -> Iterator[Member]:
    """What is part of a sample; the rest is noted."""
    start = 0
    while True:
        for item in scan_members(path, start):
            if isinstance(item, Damage):
                start = _after_end_mark(path, item.start)
                if start <= item.start:
                    named = f"the member {item.name}" if item.name else f"byte {item.start}"
                    found.torn = item.name or ""
                    behind = path.stat().st_size - item.start
                    lost = (
                        f"the {behind} bytes from there on are lost"
                        if behind
                        else "what followed, if anything, is lost"
                    )
                    found.lost.append(f"{named}: {item.what}: {lost}")
                    return
                break
            why = _why_left_out(item)
            if why is None:
                yield item
            elif item.kind != "directory":
                merge_oddities(found.oddities, {why: (1, f"{tar}: {item.name}")})
        else:
            return


def _after_end_mark(path: Path, start: int) -> int:
    """Where the next tar begins in a file that several were joined to, ``start`` if there is no end
    mark there.
    """
    with path.open("rb") as file:
        file.seek(start)
        while (block := file.read(BLOCK)) and not block.strip(b"\0"):
            start += BLOCK
    return start


def _why_left_out(member: Member) -> str | None:
    base = member.name.rpartition("/")[2]
    if member.kind != "file":
        return f"{member.kind} members, which are not followed"
    if split_name(member.name) is None:
        return (
            "hidden files, names without extension and names like __x__, which Energon passes over"
        )
    return (
        "hidden files in a folder, which Energon takes for parts of a sample"
        if base.startswith(".")
        else None
    )


def _odd(members: list[Member]) -> set[str]:
    """The part names of which the first dot belongs to the key."""
    samples: dict[str, Parts] = {}
    for member in members:
        key, part = split_name(member.name) or ("", "")
        samples[key] = (*samples.get(key, ()), part)
    return {part for part in odd_parts(samples) if not _DOTTED.fullmatch("." + part.lstrip("."))}


def _meant(name: str) -> tuple[str, str]:
    """``v1.5_a.pth`` -> ``v1.5_a``, ``pth``; ``v1.5_a..pth`` -> ``v1.5_a``, ``.pth``; ``v1.5.t5.x``
    -> ``v1.5``, ..
    """
    folder, slash, base = name.rpartition("/")
    stem, dot, part = base.partition("..")
    if dot:
        return folder + slash + stem, "." + part
    dotted = _DOTTED.search(base)
    stem, part = (
        (base[: dotted.start()], dotted[1])
        if dotted
        else (base.rpartition(".")[0], base.rpartition(".")[2])
    )
    return folder + slash + stem, part


def _drop_torn(found: Found, torn_key: str) -> None:
    """Of a tar that was cut, drop the last sample if the cut goes through it or it lacks parts that
    others have.
    """
    last = max(found.samples, key=lambda sample: sample.ends)
    others = Counter(frozenset(sample.parts) for sample in found.samples if sample is not last)
    usual = others.most_common(1)[0][0] if others else frozenset[str]()
    if last.key == torn_key or last.parts.keys() < usual:
        missing = ", ".join(sorted(usual - last.parts.keys())) or "rest"
        found.samples.remove(last)
        found.lost.append(
            f"the sample {last.key!r}: it is the last before the cut, and its {missing} is missing"
        )


def _drop_large(found: Found, most_bytes: int) -> None:
    for sample in [
        s for s in found.samples if sum(size for _, size in s.parts.values()) > most_bytes
    ]:
        found.samples.remove(sample)
        found.lost.append(
            f"the sample {sample.key!r}: it has more than {most_bytes} bytes: cut it into "
            "smaller ones"
        )


class UniqueKeys:
    """Gives out keys; which are taken is held in a temporary database on disk, so that memory stays
    flat.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("")
        self._db.execute(
            "CREATE TABLE keys (key TEXT PRIMARY KEY, next INTEGER NOT NULL) WITHOUT ROWID"
        )

    def take(self, key: str, parts: Iterable[str]) -> str:
        """``key`` without dots in its last component, or with a number behind if that is taken; the
        first is 2.
        """
        base = clean_key(key)
        if not base or not _fits(base + "_000000000", parts):
            base = _FALLBACK
        candidate = base
        while (
            self._db.execute("INSERT OR IGNORE INTO keys VALUES (?, 2)", (candidate,)).rowcount != 1
        ):
            (number,) = self._db.execute("SELECT next FROM keys WHERE key = ?", (base,)).fetchone()
            self._db.execute("UPDATE keys SET next = ? WHERE key = ?", (number + 1, base))
            candidate = f"{base}_{number}"
        return candidate

    def __enter__(self) -> UniqueKeys:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._db.close()


def clean_key(key: str) -> str:
    """``./a/../v1.5`` -> ``a/v1_5``: printable ASCII, relative, no dot in the last component; "" if
    nothing is left.
    """
    names = [name for name in key.split("/") if name not in ("", ".", "..")]
    *folders, base = names or [""]
    folders = [re.sub(r"[^ -~]|\\", "_", folder) for folder in folders]
    return "/".join((*folders, _UNFIT_KEY.sub("_", base)))


def _fits(key: str, parts: Iterable[str]) -> bool:
    """Whether Energon splits each member's name as it is meant, and a USTAR header holds it."""
    for part in parts:
        name = f"{key}.{part}"
        if split_name(name) != (key, part):
            return False
        try:
            tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
        except ValueError:
            return False
    return True
