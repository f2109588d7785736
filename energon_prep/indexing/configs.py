"""Station 7, indexing: our files of .nv-meta, each written whole and only if its content changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from energon_prep.indexing import dataset_yaml
from energon_prep.indexing.meta import DATASET_YAML, INFO_YAML, META_DIR, SPLIT_YAML, from_yaml, to_yaml
from energon_prep.indexing.split import split_config
from energon_prep.storage import LocalStorage, publish_bytes


def write_configs(
    root: Path, counts: Mapping[str, int], splits: Mapping[str, Sequence[str]], dataset: str, *, force: bool
) -> tuple[dataset_yaml.Outcome, list[str]]:
    """Write .info.yaml, dataset.yaml (unless it was edited) and, last, split.yaml.

    Returns what became of dataset.yaml, and warnings.
    """
    meta = LocalStorage(root / META_DIR)
    warnings = _dropped_excludes(meta)
    _refresh(meta, INFO_YAML, to_yaml({"shard_counts": dict(counts)}))
    existing = _read(meta, DATASET_YAML)
    outcome = dataset_yaml.decide(existing, dataset, force=force)
    if outcome == "written":
        warnings += [
            f"{META_DIR}/{DATASET_YAML} had the subflavor {name}={value}, which is dropped: give it again to keep it"
            for name, value in dataset_yaml.dropped(existing, dataset).items()
        ]
        publish_bytes(meta, DATASET_YAML, dataset.encode())
    _refresh(meta, SPLIT_YAML, to_yaml(split_config(splits)))
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
    return [f"{META_DIR}/{SPLIT_YAML} had `exclude: {dropped}`, which is dropped"] if dropped else []
