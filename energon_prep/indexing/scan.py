"""A look at the headers of tars of others, before Energon trips over them.

Energon passes over some things without a word and stops or hangs at others; here both are named.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from energon_prep.indexing.tars import split_name
from energon_prep.tar_headers import DamagedTarError, Member, whole_members

_MOST = 5  #: errors named of one tar
_RESOLUTION = re.compile(r"[1-9][0-9]{1,4}(x[1-9][0-9]{1,4})?")  #: a part "512.pth" is meant so
_FETCH_AGAIN = "fetch or write that tar again"

#: What is passed over: name -> (how often, the first)
Oddities = dict[str, tuple[int, str]]
Parts = tuple[str, ...]  #: part names of one sample, in order


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What was found in one tar."""

    tar: str
    samples: int
    keys: tuple[str, ...]
    errors: tuple[str, ...]  #: the tar cannot be indexed as it is
    oddities: Oddities  #: what Energon passes over or takes for something else


def scan_tars(root: Path, tars: Sequence[str], *, threads: int) -> Iterator[Scan]:
    """Scan tars in order, and find keys that two of them have; the threads hide the latency of the
    disk.
    """
    with ThreadPoolExecutor(max_workers=threads) as pool, closing(KeyRegister()) as register:
        for scan in pool.map(lambda tar: scan_tar(root, tar), tars):
            double = [
                f"{problem}: rename one of the two samples"
                for problem in register.add(scan.tar, scan.keys)
            ]
            yield replace(scan, keys=(), errors=(*scan.errors, *double[:_MOST]))


def scan_tar(root: Path, tar: str) -> Scan:
    """Read the headers of one tar. Memory grows with the keys of this tar only."""
    oddities: Oddities = {}
    errors: list[str] = []
    seen: dict[str, Parts] = {}
    shared: dict[Parts, Parts] = {}  # millions of samples have the same parts: keep one tuple
    try:
        for key, group in groupby(_named(root, tar, oddities), key=itemgetter(0)):
            names, parts = zip(*((name, part) for _, part, name in group), strict=True)
            error = _key_error(key, names[0], parts, seen)
            if error and len(errors) < _MOST:
                errors.append(f"{tar}: {error}")
            seen[key] = shared.setdefault(parts, parts)
        problem = None if seen else "it holds no sample"
    except UnicodeError as unreadable:
        problem = f"a member's name is not UTF-8: {unreadable}"
    except DamagedTarError as damaged:
        problem = str(damaged)
    except OSError as unreadable:
        problem = f"it cannot be read ({unreadable.strerror or unreadable})"
    if problem:
        errors.append(f"{tar}: {problem}: {_FETCH_AGAIN}, or move it away")
    _note_dotted_keys(tar, seen, oddities)
    return Scan(
        tar=tar, samples=len(seen), keys=tuple(seen), errors=tuple(errors), oddities=oddities
    )


def merge_oddities(total: Oddities, more: Oddities) -> None:
    for what, (count, first) in more.items():
        before, earliest = total.get(what, (0, first))
        total[what] = (before + count, earliest)


def _named(root: Path, tar: str, oddities: Oddities) -> Iterator[tuple[str, str, str]]:
    """(key, part, member name) of what Energon reads; the rest is noted.

    Raises OSError, DamagedTarError, and UnicodeEncodeError for a name that Energon cannot store.
    """
    with (root / tar).open("rb", buffering=0) as file:
        for member in whole_members(file, errors="surrogateescape"):
            name = member.name
            named = split_name(name) if member.kind == "file" else None
            if named is None:
                if member.kind != "directory":
                    merge_oddities(oddities, {_why_skipped(member): (1, f"{tar}: {name}")})
                continue
            name.encode()
            if named[0].endswith("/"):
                what = (
                    "hidden files in a folder, which Energon takes for parts of a sample "
                    "(remove them)"
                )
                merge_oddities(oddities, {what: (1, f"{tar}: {name}")})
            yield (*named, name)


def _why_skipped(member: Member) -> str:
    if member.kind != "file":
        return "links or devices, which Energon passes over (store files)"
    if "." not in member.name.rpartition("/")[2]:
        return "names without extension, which Energon passes over"
    if member.name.startswith("__"):
        return "names like __x__, which Energon passes over"
    return "hidden files, which Energon passes over"


def _key_error(key: str, name: str, parts: Parts, seen: dict[str, Parts]) -> str | None:
    double = sorted(part for part, count in Counter(parts).items() if count > 1)
    if double:
        return f"{key}.{double[0]} occurs twice: remove one"
    if key not in seen:
        return None
    if set(parts) & set(seen[key]):
        return f"{name}: the key {key!r} occurs twice in this tar: rename one of the samples"
    return (
        f"{name}: the parts of {key!r} are not adjacent: write the tar again with its members "
        "sorted by name"
    )


def _note_dotted_keys(tar: str, samples: dict[str, Parts], oddities: Oddities) -> None:
    """Note names whose key Energon cuts: ``v1.5_a.pth`` is part ``5_a.pth`` of ``v1``."""
    odd = odd_parts(samples)
    if odd:
        first = next(
            f"{key}.{part}" for key, parts in samples.items() for part in parts if part in odd
        )
        what = (
            "names with a dot in the base name, where Energon cuts the key and may merge "
            "samples (rename them)"
        )
        merge_oddities(oddities, {what: (sum(odd.values()), f"{tar}: {first}")})


def odd_parts(samples: Mapping[str, Parts]) -> dict[str, int]:
    """Part names of which the first dot was meant to be in the key, and how often they occur.

    Part names with a dot that are meant so (``latents.pth``, ``512.pth``) recur in most samples.
    """
    dotted = Counter(
        part for parts in samples.values() for part in parts if "." in part.lstrip(".")
    )
    suffixes: dict[str, set[str]] = defaultdict(set)
    for part in dotted:
        suffixes[_stem(part)].add(part.removeprefix(_stem(part)))
    groups = Counter(frozenset(group) for group in suffixes.values() if len(group) > 1)

    def is_odd(part: str) -> bool:
        # a.{jpg,txt} b.{jpg,txt}: two samples in one
        repeats = groups[frozenset(suffixes[_stem(part)])] > 1
        is_name = _stem(part).isidentifier() or (
            len(samples) > 1 and _RESOLUTION.fullmatch(_stem(part))
        )
        return repeats or not is_name or 2 * dotted[part] < len(samples)

    return {part: count for part, count in dotted.items() if is_odd(part)}


def _stem(part: str) -> str:
    return part.lstrip(".").partition(".")[0]


class KeyRegister:
    """Every key so far, in a temporary database that sqlite keeps on disk and removes: memory stays
    flat.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("")
        self._db.execute("CREATE TABLE keys (key TEXT PRIMARY KEY, tar TEXT) WITHOUT ROWID")

    def add(self, tar: str, keys: Iterable[str]) -> Iterator[str]:
        """Register the keys of one tar; yield what is wrong with those that another tar has too."""
        keys = list(keys)
        before = self._db.total_changes
        self._db.executemany(
            "INSERT OR IGNORE INTO keys VALUES (?, ?)", ((key, tar) for key in keys)
        )
        if self._db.total_changes - before == len(keys):
            return
        for key in keys:
            (first,) = self._db.execute("SELECT tar FROM keys WHERE key = ?", (key,)).fetchone()
            if first != tar:
                yield f"{tar}: {key}: the key is in {first} too"

    def close(self) -> None:
        self._db.close()
