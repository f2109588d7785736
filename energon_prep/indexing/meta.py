"""The files of .nv-meta: reading each, writing those that are configuration, removing all.

dataset.yaml is ours to rewrite until somebody edits it: its first line carries a hash of the rest,
and a file whose hash does not fit was edited, or written by others.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sqlite3
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import yaml

from energon_prep.errors import PrepError
from energon_prep.indexing.split import split_config
from energon_prep.layout import META_DIR, PRIVATE_DIR
from energon_prep.recipes.safe_yaml import parse_yaml
from energon_prep.shards.rows import unpack
from energon_prep.storage import LocalStorage, publish_bytes

INFO_JSON = ".info.json"  #: by Energon: {"energon_version", "shard_counts"}
INFO_YAML = ".info.yaml"  #: what Energon 5 and 6 read: {"shard_counts"}
SQLITE = "index.sqlite"
UUID = "index.uuid"
SPLIT_YAML = "split.yaml"
SPLIT_ASIDE = f"{PRIVATE_DIR}/{SPLIT_YAML}"  #: that of before, while the index is written
DATASET_YAML = "dataset.yaml"

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

Outcome = Literal["written", "kept", "unchanged"]

_MARK = "# Written by energon-prep, which keeps this file once you edit it. sha256:"


def to_yaml(value: object) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=10_000)
    return text


def from_yaml(text: str) -> Any:
    """Raises yaml.YAMLError."""
    return parse_yaml(text)


def idx_path(tar: Path) -> Path:
    """``shard_000000.tar`` -> ``shard_000000.tar.idx``."""
    return tar.with_suffix(".tar.idx")


def read_idx(path: Path) -> array[int]:
    """Header offset of each sample, then the offset of the end-of-archive mark. Raises OSError."""
    data = path.read_bytes()
    return unpack("Q", data[: len(data) // 8 * 8])


def read_shard_counts(meta: Path) -> dict[str, int] | None:
    """Samples of each shard in Energon's order, from .info.json; None if there is none that can be
    read.
    """
    try:
        counts = json.loads((meta / INFO_JSON).read_bytes())["shard_counts"]
        return {str(shard): int(count) for shard, count in counts.items()}
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ):
        return None


@contextmanager
def open_sqlite(path: Path) -> Iterator[sqlite3.Connection]:
    """index.sqlite, read only and without locks, as Energon opens it. Raises sqlite3.Error."""
    with closing(
        sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)
    ) as connection:
        yield connection


def read_sqlite_counts(path: Path) -> dict[int, int]:
    """Samples of each tar_file_id in index.sqlite. Raises sqlite3.Error."""
    with open_sqlite(path) as connection:
        rows = connection.execute("SELECT tar_file_id, COUNT(*) FROM samples GROUP BY tar_file_id")
        return dict(rows.fetchall())


def write_configs(
    root: Path,
    counts: Mapping[str, int],
    splits: Mapping[str, Sequence[str]],
    dataset: str,
    *,
    force: bool,
    exclude: Sequence[object] | None = None,
) -> tuple[Outcome, list[str]]:
    """Write .info.yaml, dataset.yaml (unless it was edited) and, last, split.yaml: each whole, if
    it changes. ``exclude``: what split.yaml takes out of training; None: what was in it is dropped.

    Returns what became of dataset.yaml, and warnings.
    """
    meta = LocalStorage(root / META_DIR)
    warnings = _dropped_excludes(meta) if exclude is None else []
    _refresh(meta, INFO_YAML, to_yaml({"shard_counts": dict(counts)}))
    existing = _read(meta, DATASET_YAML)
    outcome = decide_dataset(existing, dataset, force=force)
    if outcome == "written":
        warnings += [
            f"{META_DIR}/{DATASET_YAML} had the subflavor {name}={value}, which is dropped: "
            "give it again to keep it"
            for name, value in dropped_subflavors(existing, dataset).items()
        ]
        publish_bytes(meta, DATASET_YAML, dataset.encode())
    _refresh(meta, SPLIT_YAML, to_yaml(split_config(splits, exclude or ())))
    meta.remove(SPLIT_ASIDE)
    return outcome, warnings


def _refresh(meta: LocalStorage, name: str, text: str) -> None:
    if _read(meta, name) != text:
        publish_bytes(meta, name, text.encode())


def _read(meta: LocalStorage, name: str) -> str | None:
    return meta.read(name).decode(errors="replace") if meta.exists(name) else None


def _dropped_excludes(meta: LocalStorage) -> list[str]:
    try:
        config = from_yaml(_read(meta, SPLIT_YAML) or "")
    except yaml.YAMLError:
        return []
    dropped = config.get("exclude") if isinstance(config, dict) else None
    return (
        [f"{META_DIR}/{SPLIT_YAML} had `exclude: {dropped}`, which is dropped"] if dropped else []
    )


def render_dataset(subflavors: Mapping[str, Any]) -> str:
    """The dataset as Energon's CrudeWebdataset. Raises PrepError for subflavors that YAML cannot
    hold.
    """
    content: dict[str, Any] = {"__module__": "megatron.energon", "__class__": "CrudeWebdataset"}
    if subflavors:
        content["subflavors"] = dict(subflavors)
    try:
        body = to_yaml(content)
    except yaml.YAMLError as error:
        raise PrepError(
            f"subflavors {dict(subflavors)!r} cannot be written as YAML: use plain values"
        ) from error
    return f"{_MARK}{_hash(body)}\n{body}"


def read_subflavors(text: str) -> dict[str, Any]:
    """What such a file says of every sample. Raises ValueError for one that is no dataset's."""
    try:
        content = from_yaml(text)
    except yaml.YAMLError as error:
        raise ValueError(f"it is not YAML: {str(error).splitlines()[0]}") from error
    subflavors = content.get("subflavors", {}) if isinstance(content, dict) else None
    if not isinstance(subflavors, dict):
        raise ValueError("it has no mapping of subflavors")
    return subflavors


def complete_subflavors(given: Mapping[str, Any], needed: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` subflavors with those that the dataset's target needs. Raises PrepError where they
    contradict these.
    """
    for name, value in needed.items():
        if given.get(name, value) != value:
            raise PrepError(
                f"subflavor {name}={given[name]}: the dataset's target needs {name}={value}, "
                "by which trainers choose how samples are read: leave it out, or give yours "
                "another name"
            )
    return {**needed, **given}


def dropped_subflavors(existing: str | None, new: str) -> dict[str, Any]:
    """Subflavors of an ``existing`` file that ``new`` lacks."""
    try:
        before = {} if existing is None else read_subflavors(existing)
    except ValueError:
        return {}
    after = read_subflavors(new)
    return {name: value for name, value in before.items() if name not in after}


def decide_dataset(existing: str | None, new: str, *, force: bool) -> Outcome:
    """What becomes of an ``existing`` file: rewritten if it is ours or ``force``, kept if it was
    edited.
    """
    if existing == new or (existing is not None and not force and _says_the_same(existing, new)):
        return "unchanged"
    return "written" if existing is None or force or is_as_written(existing) else "kept"


def is_as_written(text: str) -> bool:
    """Whether a dataset.yaml is ours, and nobody edited it."""
    first, _, body = text.partition("\n")
    return first == f"{_MARK}{_hash(body)}"


def _says_the_same(one: str, other: str) -> bool:
    try:
        return bool(from_yaml(one) == from_yaml(other))
    except yaml.YAMLError:
        return False


def _hash(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def index_files(root: Path) -> Iterator[Path]:
    """The files of an index of ours that are there: of those that ``index`` writes."""
    meta = root / META_DIR
    names = [SPLIT_YAML, SPLIT_ASIDE, SQLITE, UUID, INFO_JSON, INFO_YAML, DATASET_YAML]
    names += [f"{SQLITE}{suffix}" for suffix in ("-journal", "-wal", "-shm")]
    yield from (meta / name for name in names if (meta / name).exists())


def set_split_aside(meta: Path) -> None:
    """Without split.yaml a dataset does not load; which split each shard was in is found aside."""
    with suppress(FileNotFoundError):
        (meta / SPLIT_YAML).replace(meta / SPLIT_ASIDE)


def remove_index(root: Path) -> None:
    """Remove an index that does not fit its tars."""
    for name in (SPLIT_YAML, SQLITE, UUID, INFO_JSON, INFO_YAML):
        (root / META_DIR / name).unlink(missing_ok=True)


def take_over(new: Path, final: Path) -> None:
    with new.open("rb") as file:
        os.fsync(file.fileno())
    try:
        new.replace(final)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # another file system is mounted at the tar's folder
        near = final.with_name(f".{final.name}.tmp")
        near.unlink(missing_ok=True)  # whatever it is: it must not be written through
        shutil.copy2(new, near)
        near.replace(final)
