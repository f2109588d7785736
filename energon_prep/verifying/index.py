""".nv-meta against the tars."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from energon_prep.indexing.database import read_holdings
from energon_prep.indexing.meta import (
    DATASET_YAML,
    INFO_JSON,
    INFO_YAML,
    SPLIT_YAML,
    SQLITE,
    UUID,
    from_yaml,
    open_sqlite,
    read_shard_counts,
    read_sqlite_counts,
)
from energon_prep.indexing.ours import Identity, identify
from energon_prep.layout import META_DIR
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.verifying.configs import (
    REMEDY,
    dataset_notes,
    dataset_problems,
    list_problems,
    split_problems,
)

_MOST_BYTES = 2**28  #: of what is read whole; a million shards take some 30 MB


@dataclass(frozen=True, kw_only=True)
class IndexCheck:
    """What was found in .nv-meta."""

    shards: dict[str, int] | None  #: tars in the index's order -> samples; None: not indexed
    has_sqlite: bool  #: index.sqlite can be read
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def check_index(
    root: Path,
    tars: Sequence[str],
    entries: Sequence[LedgerEntry] | None,
    subflavors: Mapping[str, Any],
    *,
    deep: bool,
) -> IndexCheck:
    """Hold the index's lists against the tars that are there, and against the ledger where there is
    one.

    ``subflavors``: those of the dataset's target, which dataset.yaml must have. ``deep``: with
    sqlite's own check of its file.
    """
    meta = root / META_DIR
    needed = (INFO_JSON, SPLIT_YAML, DATASET_YAML)
    missing = [name for name in needed if not (meta / name).is_file()]
    if len(missing) == len(needed):
        return IndexCheck(shards=None, has_sqlite=False, problems=())
    problems = [f"{META_DIR}/{name}: it is missing: {REMEDY}" for name in missing]
    large = [name for name in (*needed, INFO_YAML, UUID) if _size(meta / name) > _MOST_BYTES]
    problems += [
        f"{META_DIR}/{name}: it has {_size(meta / name)} bytes: {REMEDY}" for name in large
    ]
    unread = {*missing, *large}
    counts: dict[str, int] = {}
    if INFO_JSON not in unread:
        counts, of_counts = _check_counts(meta, tars, entries or ())
        problems += of_counts
    if INFO_YAML not in large:
        problems += _old_info_problems(meta / INFO_YAML, counts, ours=entries is not None)
    notes: list[str] = []
    if DATASET_YAML not in unread:
        problems += dataset_problems(meta / DATASET_YAML, subflavors)
        notes += dataset_notes(meta / DATASET_YAML)
    if SPLIT_YAML not in unread:
        problems += split_problems(meta / SPLIT_YAML, tars)
    identity = None if entries is None else identify(_in_order(entries))
    if identity is not None and UUID not in large:
        notes += _uuid_notes(meta / UUID, identity)
    has_sqlite = (meta / SQLITE).exists()
    of_sqlite = list(_sqlite_problems(meta / SQLITE, counts, deep=deep)) if has_sqlite else []
    if has_sqlite and identity is not None and not of_sqlite:
        of_sqlite += _stamp_problems(meta / SQLITE, identity)
    return IndexCheck(
        shards=counts,
        has_sqlite=has_sqlite and not of_sqlite,
        problems=(*problems, *of_sqlite),
        notes=tuple(notes),
    )


def _check_counts(
    meta: Path, tars: Sequence[str], entries: Sequence[LedgerEntry]
) -> tuple[dict[str, int], list[str]]:
    """Samples by tar, as .info.json has them, and what is wrong with that."""
    name = f"{META_DIR}/{INFO_JSON}"
    counts = read_shard_counts(meta)
    if counts is None:
        return {}, [f"{name}: it cannot be read: {REMEDY}"]
    problems = [*list_problems(INFO_JSON, counts, tars)]
    problems += [
        f"{name}: {entry.shard} has {counts[entry.shard]} samples, in the ledger "
        f"{entry.num_samples}"
        for entry in entries
        if counts.get(entry.shard, entry.num_samples) != entry.num_samples
    ]
    return counts, problems


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _old_info_problems(path: Path, counts: Mapping[str, int], *, ours: bool) -> Iterator[str]:
    """What Energon 5 and 6 read; the index of others may be without."""
    try:
        if from_yaml(path.read_text())["shard_counts"] != counts:
            yield f"{META_DIR}/{INFO_YAML}: its counts are not those of {INFO_JSON}: {REMEDY}"
    except FileNotFoundError:
        if ours:
            yield f"{META_DIR}/{INFO_YAML}: it is missing: {REMEDY}"
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError) as error:
        what = type(error).__name__
        yield f"{META_DIR}/{INFO_YAML}: it cannot be read ({what}): {REMEDY}"


def _uuid_notes(path: Path, identity: Identity) -> Iterator[str]:
    """Energon reads nothing out of it, and its own preparation draws another."""
    try:
        same = path.read_bytes() == identity.uuid.encode()
    except OSError:
        same = False
    if not same:
        yield f"{META_DIR}/{UUID} is not the one that index makes of these tars"


def _stamp_problems(path: Path, identity: Identity) -> Iterator[str]:
    """An index that Energon made itself has no stamp."""
    holdings = read_holdings(path)
    if holdings is None:
        yield f"{META_DIR}/{SQLITE}: it is not as Energon makes it: {REMEDY}"
    elif holdings.stamp not in (0, identity.stamp):
        yield f"{META_DIR}/{SQLITE}: it was not made of the dataset's tars: {REMEDY}"


def _in_order(entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    return sorted((entry for entry in entries if entry.shard), key=lambda entry: entry.shard)


def _sqlite_problems(path: Path, counts: Mapping[str, int], *, deep: bool) -> Iterator[str]:
    try:
        stored = read_sqlite_counts(path)
        if deep:
            with open_sqlite(path) as connection, closing(connection.cursor()) as cursor:
                (found,) = cursor.execute("PRAGMA integrity_check(1)").fetchone()
            if found != "ok":
                yield f"{META_DIR}/{SQLITE}: it is damaged ({found}): {REMEDY} --force"
                return
    except sqlite3.Error as error:
        yield f"{META_DIR}/{SQLITE}: it cannot be read ({error}): {REMEDY}"
        return
    if sum(stored.values()) != sum(counts.values()):
        yield (
            f"{META_DIR}/{SQLITE}: it has {sum(stored.values())} samples, {INFO_JSON} "
            f"{sum(counts.values())}: {REMEDY}"
        )
