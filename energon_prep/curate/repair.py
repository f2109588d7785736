"""Tars of others -> a new folder of tars that Energon reads, with the loss told.

NEWDIR/a.tar                 of SRC/a.tar or a.tgz: parts adjacent, keys unique and without dots
NEWDIR/__fixed_keys.jsonl    of each sample that got another key: tar, key, and both as they were
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from energon_prep.curate.repair_samples import Found, UniqueKeys, read_samples
from energon_prep.errors import PrepError
from energon_prep.indexing.scan import Oddities, merge_oddities
from energon_prep.indexing.tars import list_tars
from energon_prep.layout import PRIVATE_DIR
from energon_prep.shards.writer import TarWriter
from energon_prep.storage import LocalStorage, Publication, dataset_folder, writing

FIXED_KEYS = "__fixed_keys.jsonl"

_MOST_TOLD = 1000  #: losses named
_CHUNK = 2**20
_MOST_RATIO = 200  #: of the sizes of a tar and of what it is compressed to
_SMALL = 2**26  #: bytes that may be unpacked of any
_MAX_SAMPLE = 4 * 2**30  #: bytes of one sample, which is held in memory


@dataclass(frozen=True, kw_only=True)
class RepairReport:
    """What ``repair`` did."""

    dest: str  #: the new folder, as it was given
    tars: int  #: written
    samples: int  #: in them
    renamed: int  #: of these, with another key than before
    regrouped: int  #: of these, whose parts were not adjacent
    #: members that are no parts of samples, by kind, with the first of each
    left_out: tuple[str, ...]
    lost: tuple[str, ...]  #: what could not be read: tar, member, why
    num_lost: int  #: all of them; of many the first are in ``lost``
    #: tars of which nothing could be read, and which are not in ``dest``
    unreadable: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def losses(self) -> Iterator[str]:
        """What is not in the new folder, for people."""
        yield from (f"not readable, left out: {tar}" for tar in self.unreadable)
        yield from (f"lost: {what}" for what in self.lost)
        if self.num_lost > len(self.lost):
            yield f"lost: {self.num_lost - len(self.lost)} more"
        yield from (f"left out: {what}" for what in self.left_out)


def repair(src: str | Path, dest: str | Path) -> RepairReport:
    """Rewrite the tars of ``src`` into the new or empty folder ``dest``; nothing is written
    anywhere else.

    A tar is read twice, its headers and then its samples one by one: memory grows with the headers
    of one tar. Links and devices in tars are left out, never followed. Raises PrepError where there
    is nothing to rewrite or no room.
    """
    root, new = dataset_folder(src), dataset_folder(dest)
    _require_apart(root, new)
    listing = list_tars(root)
    tars = sorted((*listing.tars, *listing.compressed))
    if not tars:
        raise PrepError(f"{root} has no tars: give the folder with the tars")
    storage = LocalStorage(new)
    with storage.locked(), UniqueKeys() as keys:
        run = _Run(storage, keys)
        names: set[str] = set()
        for tar in tars:
            run.repair_tar(root, tar, _new_name(tar, names))
        report = run.finish()
    # the lock's: this is no dataset that ``encode`` could go on with
    shutil.rmtree(new / PRIVATE_DIR)
    if not report.tars:
        raise PrepError("\n  ".join([f"nothing in {root} could be read:", *report.unreadable[:20]]))
    return report


def _require_apart(root: Path, new: Path) -> None:
    if not root.is_dir():
        raise PrepError(f"{root} is not a folder: give the folder with the tars")
    source, target = root.resolve(), new.resolve()
    if target == source or target.is_relative_to(source) or source.is_relative_to(target):
        raise PrepError(
            f"--fix {new}: it must lie neither in {root} nor around it: give another folder"
        )
    if new.exists() and (not new.is_dir() or any(new.iterdir())):
        raise PrepError(
            f"--fix {new}: it is there already and not empty: give a new folder, or empty it"
        )


def _new_name(tar: str, names: set[str]) -> str:
    """The tar's name, free of what misleads Energon, which no other tar has."""
    stem = tar
    for suffix in (".tar.gz", ".tgz", ".tar"):
        if stem.endswith(suffix):
            stem = stem.removesuffix(suffix)
            break
    stem = "".join(
        char if char.isascii() and char.isprintable() and char not in "{}\\" else "_"
        for char in stem
    )
    name, number = f"{stem}.tar", 1
    while name in names:
        name, number = f"{stem}_{number}.tar", number + 1
    names.add(name)
    return name


class _Run:
    """Rewrites tar after tar, and counts."""

    def __init__(self, storage: LocalStorage, keys: UniqueKeys) -> None:
        self._storage = storage
        self._keys = keys
        self._side: Publication | None = None
        self._tars = self._samples = self._renamed = self._regrouped = self._num_lost = 0
        self._lost: list[str] = []
        self._unreadable: list[str] = []
        self._oddities: Oddities = {}

    def repair_tar(self, root: Path, tar: str, name: str) -> None:
        """Write what can be read of ``root / tar`` as ``name``."""
        lost: list[str] = []
        with _unpacked(root / tar, self._storage, lost) as path:
            found = read_samples(path, tar, most_bytes=_MAX_SAMPLE)
            lost += found.lost
            merge_oddities(self._oddities, found.oddities)
            if found.samples:
                self._write(path, tar, name, found)
            else:
                self._unreadable.append(f"{tar}: " + "; ".join(lost or ["it holds no sample"]))
                return
        self._num_lost += len(lost)
        self._lost += [f"{tar}: {what}" for what in lost][: _MOST_TOLD - len(self._lost)]

    def finish(self) -> RepairReport:
        if self._side is not None:
            self._side.publish()
        return RepairReport(
            dest=str(self._storage.root),
            tars=self._tars,
            samples=self._samples,
            renamed=self._renamed,
            regrouped=self._regrouped,
            left_out=tuple(
                f"{count} x {what}, first {first}"
                for what, (count, first) in self._oddities.items()
            ),
            lost=tuple(self._lost),
            num_lost=self._num_lost,
            unreadable=tuple(self._unreadable),
        )

    def _write(self, path: Path, tar: str, name: str, found: Found) -> None:
        publication = self._storage.create(name)
        try:
            writer = TarWriter(publication.file)
            with path.open("rb") as file:
                for sample in found.samples:
                    parts = {
                        part: _read(file, start, size, path)
                        for part, (start, size) in sample.parts.items()
                    }
                    key = self._keys.take(sample.key, parts)
                    if key != sample.key:
                        self._note(name, key, tar, sample.key)
                    writer.write(key, parts)
                    self._samples += 1
            writer.finish()
            publication.publish()
        finally:
            publication.discard()
        self._tars += 1
        self._regrouped += sum(sample.scattered for sample in found.samples)

    def _note(self, name: str, key: str, tar: str, was: str) -> None:
        self._renamed += 1
        if self._side is None:
            self._side = self._storage.create(FIXED_KEYS)
        line = {"tar": name, "key": key, "was": {"tar": tar, "key": was}}
        self._side.file.write((json.dumps(line) + "\n").encode())


def _read(file: BinaryIO, start: int, size: int, path: Path) -> bytes:
    file.seek(start)
    data = file.read(size)
    if len(data) < size:
        raise PrepError(
            f"{path} was cut while it was read: let nothing write to it and start again"
        )
    return data


@contextmanager
def _unpacked(path: Path, storage: LocalStorage, lost: list[str]) -> Iterator[Path]:
    """The tar itself, or what is in a compressed one, for as long as the context lasts."""
    with path.open("rb") as packed:
        if packed.read(2) != b"\x1f\x8b":
            yield path
            return
        packed.seek(0)
        most = _SMALL + _MOST_RATIO * os.fstat(packed.fileno()).st_size
        unpacked = storage.root / PRIVATE_DIR / "tmp" / "unpacked"
        with writing(unpacked), unpacked.open("wb") as file:
            problem = _inflate(packed, file, most)
        if problem:
            lost.append(problem)
        yield unpacked
        unpacked.unlink()


def _inflate(packed: BinaryIO, file: BinaryIO, most: int) -> str | None:
    """Unpack at most ``most`` bytes of gzip; return what went wrong on the way."""
    inflater = zlib.decompressobj(wbits=31)
    written = 0
    data = packed.read(_CHUNK)
    while data:
        try:
            chunk = inflater.decompress(data, _CHUNK)
        except zlib.error as error:
            return f"after {written} unpacked bytes it is damaged ({error}): what follows is lost"
        written += len(chunk)
        if written > most:
            return (
                f"it unpacks to more than {most} bytes, which no tar of media does: the rest "
                "was left packed"
            )
        file.write(chunk)
        data = (
            inflater.unconsumed_tail
            or (inflater.unused_data if inflater.eof else b"")
            or packed.read(_CHUNK)
        )
        if inflater.eof:
            if not data.startswith(b"\x1f\x8b"):  # nothing but padding
                return None
            inflater = zlib.decompressobj(wbits=31)
    return (
        None if inflater.eof else f"after {written} unpacked bytes it was cut: what follows is lost"
    )
