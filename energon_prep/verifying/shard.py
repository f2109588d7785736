"""One tar, every part of it decoded safely and held against the trainer's contract."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

from cookers.safe import DecodeError, load_json
from cookers.strict import load_pickle, load_pth
from energon_prep.indexing.tars import split_name
from energon_prep.layout import rows_name
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.shards.rows import ShardRows
from energon_prep.tar_headers import DamagedTarError, Member, whole_members
from energon_prep.targets import ContractError, Target, get_target
from energon_prep.verifying.identity import identity_problems
from energon_prep.verifying.problems import Problems
from energon_prep.verifying.records import idx_problems, read_records
from energon_prep.verifying.tar_index import TarIndex

_MOST = 20  #: problems kept of one tar
MOST_BYTES = 2**31  #: of a part; the latents of 20 s in 4K, at 16 frames a second, are 2**28.3
_LARGE = 2**26  #: bytes of an original that was carried over, which nobody decodes
#: of parts, by the end of their name; others are bytes
LOADERS: dict[str, Callable[[bytes], Any]] = {
    "pth": load_pth,
    "pickle": load_pickle,
    "json": load_json,
}


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """One tar to be checked, and what it is held against."""

    root: Path
    tar: str
    target: str | None  #: None: the parts are decoded, and no contract is checked
    entry: LedgerEntry | None  #: None: a dataset of others
    planned: range | None = None  #: the numbers of its samples, where they are known
    tar_file_id: int | None  #: its place in the index; None: not in one
    num_indexed: int | None  #: samples it has by the index
    has_sqlite: bool


@dataclass(frozen=True, kw_only=True)
class ShardCheck:
    """What was found in one tar."""

    tar: str
    index: int | None  #: of the shard, if it is one of ours
    keys: tuple[str, ...]  #: none where the tar was not opened
    samples: int
    parts: int
    problems: tuple[str, ...]  #: the first of them
    num_problems: int
    tar_damaged: bool  #: it, or what its rejects are, is not what was written
    records_damaged: bool  #: its .idx or its rows are not


def glance(task: ShardTask) -> ShardCheck:
    """Check what lies beside a tar, which stays closed: samples and parts are as many as the
    records say.
    """
    entry, problems, strange = task.entry, list[str](), list[str]()
    if entry is not None:
        rows, problems = read_records(task.root, entry)
        strange = _identity(task, entry, None if rows is None else rows.keys)
    elif task.num_indexed is not None:
        problems += idx_problems(task.root, task.tar, task.num_indexed)
    return ShardCheck(
        tar=task.tar,
        index=None if entry is None else entry.index,
        keys=(),
        samples=(task.num_indexed or 0) if entry is None else entry.num_samples,
        parts=0 if entry is None else entry.num_parts,
        problems=(*problems, *strange),
        num_problems=len(problems) + len(strange),
        tar_damaged=bool(strange),
        records_damaged=bool(problems),
    )


def check_shard(task: ShardTask) -> ShardCheck:
    """Check one tar. What is wrong with it is told and never raised; memory grows with its keys
    only.
    """
    problems = Problems(_MOST)
    walk = _Walk(task, problems)
    damaged = True
    try:
        problem = _content_problem(task)
        damaged = problem is not None
        problems.extend([problem] if problem else [])
        with (task.root / task.tar).open("rb") as file:
            walk.run(file)
    except DamagedTarError as error:
        problems.add(str(error))
    except OSError as error:
        problems.add(f"it cannot be read ({error.strerror or error})")
    beside, strange = list[str](), list[str]()
    if task.entry is not None:
        if len(walk.keys) != task.entry.num_samples:
            problems.add(
                f"it has {len(walk.keys)} samples, and {task.entry.num_samples} were written"
            )
        strange = _identity(task, task.entry, walk.keys)
        rows, beside = read_records(task.root, task.entry)
        if rows is not None and not damaged and rows != walk.rows:
            beside.append(f"{rows_name(task.entry.index)}: it is not what was written with the tar")
    return ShardCheck(
        tar=task.tar,
        index=None if task.entry is None else task.entry.index,
        keys=tuple(walk.keys),
        samples=len(walk.keys),
        parts=walk.num_parts,
        problems=(
            *(f"{task.tar}: {problem}" for problem in problems.kept),
            *strange,
            *beside,
        ),
        num_problems=problems.count + len(strange) + len(beside),
        tar_damaged=damaged or bool(strange),
        records_damaged=bool(beside),
    )


def _identity(task: ShardTask, entry: LedgerEntry, keys: Iterable[str] | None) -> list[str]:
    """Where samples and rejects are not exactly those that were planned."""
    return list(identity_problems(task.root, entry, task.planned, keys, where=task.tar))


def _content_problem(task: ShardTask) -> str | None:
    """Whether the tar's bytes are those that were written. Raises OSError if they cannot be
    read.
    """
    if task.entry is None or (task.root / task.tar).stat().st_size != task.entry.bytes:
        return None  # another size is told with the ledger's
    digest = hashlib.sha256()
    with (task.root / task.tar).open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    if digest.hexdigest() == task.entry.sha256:
        return None
    return (
        f"its sha256 is {digest.hexdigest()}, not the ledger's {task.entry.sha256}: its bytes "
        "were changed"
    )


class _Walk:
    """The way through one tar, sample by sample."""

    def __init__(self, task: ShardTask, problems: Problems) -> None:
        self._task = task
        self._problems = problems
        self._target: Target | None = get_target(task.target) if task.target is not None else None
        self.keys: dict[str, None] = {}
        self.num_parts = 0
        self.rows = ShardRows()  #: where everything lies, of a tar of ours
        self._end = 0  #: of the last member

    def run(self, file: BinaryIO) -> None:
        with self._index() as index:
            for key, members in groupby(self._named(file), key=lambda named: named[1]):
                if key in self.keys:
                    self._problems.add(
                        f"{key}: the key occurs twice, or its parts are not adjacent"
                    )
                self.keys[key] = None
                self._check(key, self._decoded(file, members, key, index))
            self.rows.end = self._end
            if index is not None:
                self._problems.extend(index.finish(self._end))
        if not self.keys:
            self._problems.add("it holds no sample")

    def _index(self) -> AbstractContextManager[TarIndex | None]:
        task = self._task
        if task.tar_file_id is None:
            return nullcontext()
        return TarIndex(
            task.root, task.tar, tar_file_id=task.tar_file_id, has_sqlite=task.has_sqlite
        )

    def _named(self, file: BinaryIO) -> Iterator[tuple[Member, str, str]]:
        for member in whole_members(file):
            self._end = member.end
            named = split_name(member.name) if member.kind == "file" else None
            if named is not None:
                yield member, *named
            elif self._task.entry is not None:
                self._problems.add(
                    f"{member.name}: this is no part of a sample: Energon passes over it"
                )

    def _decoded(
        self,
        file: BinaryIO,
        members: Iterator[tuple[Member, str, str]],
        key: str,
        index: TarIndex | None,
    ) -> dict[str, Any] | None:
        """The sample's parts, or None if one of them cannot be decoded."""
        parts: dict[str, Any] = {}
        lies: list[tuple[str, int, int]] = []
        first, sound = 0, True
        for i, (member, _, part) in enumerate(members):
            if i == 0:
                first = member.start
            if index is not None:
                if i == 0:
                    index.sample(key, member.start)
                index.part(part, member.data, member.size)
            lies.append((part, member.data, member.size))
            if part in parts:
                self._problems.add(f"{member.name}: it occurs twice")
            try:
                parts[part] = self._value(file, member, part)
            except DecodeError as error:
                self._problems.add(f"{member.name}: {error}")
                sound = False
        self.num_parts += len(lies)
        if self._task.entry is not None:
            self.rows.add(key, first, lies)
        return parts if sound else None

    def _value(self, file: BinaryIO, member: Member, part: str) -> Any:
        """A part decoded. Raises DecodeError, also for one that is larger than any trainer's.

        Of a large part that no contract names, an original that was carried over, the bytes stay in
        the tar.
        """
        load = LOADERS.get(part.rpartition(".")[2])
        named = self._target is not None and part in self._target.part_names
        if load is None and not named and member.size > _LARGE:
            return b""
        if member.size > MOST_BYTES:
            raise DecodeError(
                f"it has {member.size} bytes: a part of more than {MOST_BYTES} is no trainer's"
            )
        file.seek(member.data)
        try:
            data = file.read(member.size)
            return data if load is None else load(data)
        except MemoryError as error:
            raise DecodeError(f"there is no memory for its {member.size} bytes") from error

    def _check(self, key: str, parts: dict[str, Any] | None) -> None:
        if parts is None or self._target is None:
            return
        try:
            self._target.check(parts)
        except ContractError as error:
            self._problems.add(f"{key}: {error}")
        except Exception as error:  # noqa: BLE001 - values so odd that the check itself trips are a finding
            self._problems.add(f"{key}: it cannot be checked ({type(error).__name__}: {error})")
