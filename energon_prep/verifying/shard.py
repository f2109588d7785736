"""One tar, every part of it decoded safely and held against the trainer's contract."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

from cookers.safe import DecodeError, load_json
from cookers.strict import load_pickle, load_pth
from energon_prep.indexing.tars import split_name
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.tar_headers import DamagedTarError, Member, whole_members
from energon_prep.targets import ContractError, Target, get_target
from energon_prep.verifying.problems import Problems
from energon_prep.verifying.records import idx_problems, record_problems
from energon_prep.verifying.tar_index import TarIndex

_MOST = 20  #: problems kept of one tar
_LOADERS: dict[str, Callable[[bytes], Any]] = {
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
    tar_damaged: bool  #: it is not, or not readable as, the one that was written
    records_damaged: bool  #: its .idx or its rows are not


def glance(task: ShardTask) -> ShardCheck:
    """Check what lies beside a tar, which stays closed: samples and parts are as many as the
    records say.
    """
    entry, problems = task.entry, list[str]()
    if entry is not None:
        problems += record_problems(task.root, entry)
    elif task.num_indexed is not None:
        problems += idx_problems(task.root, task.tar, task.num_indexed)
    return ShardCheck(
        tar=task.tar,
        index=None if entry is None else entry.index,
        keys=(),
        samples=(task.num_indexed or 0) if entry is None else entry.num_samples,
        parts=0 if entry is None else entry.num_parts,
        problems=tuple(problems),
        num_problems=len(problems),
        tar_damaged=False,
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
    if task.entry is not None and len(walk.keys) != task.entry.num_samples:
        problems.add(f"it has {len(walk.keys)} samples, and {task.entry.num_samples} were written")
    beside = glance(task) if task.entry is not None else None
    return ShardCheck(
        tar=task.tar,
        index=None if task.entry is None else task.entry.index,
        keys=tuple(walk.keys),
        samples=len(walk.keys),
        parts=walk.num_parts,
        problems=(
            *(f"{task.tar}: {problem}" for problem in problems.kept),
            *(beside.problems if beside else ()),
        ),
        num_problems=problems.count + (beside.num_problems if beside else 0),
        tar_damaged=damaged,
        records_damaged=beside is not None and beside.records_damaged,
    )


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
        sound = True
        for i, (member, _, part) in enumerate(members):
            if index is not None:
                if i == 0:
                    index.sample(key, member.start)
                index.part(part, member.data, member.size)
            self.num_parts += 1
            file.seek(member.data)
            data = file.read(member.size)
            if part in parts:
                self._problems.add(f"{member.name}: it occurs twice")
            try:
                parts[part] = _LOADERS.get(part.rpartition(".")[2], bytes)(data)
            except DecodeError as error:
                self._problems.add(f"{member.name}: {error}")
                sound = False
        return parts if sound else None

    def _check(self, key: str, parts: dict[str, Any] | None) -> None:
        if parts is None or self._target is None:
            return
        try:
            self._target.check(parts)
        except ContractError as error:
            self._problems.add(f"{key}: {error}")
        except Exception as error:  # noqa: BLE001 - values so odd that the check itself trips are a finding
            self._problems.add(f"{key}: it cannot be checked ({type(error).__name__}: {error})")
