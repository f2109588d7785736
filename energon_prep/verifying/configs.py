"""dataset.yaml and split.yaml, which people may edit, against what ``index`` writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from energon_prep.indexing.meta import (
    DATASET_YAML,
    SPLIT_YAML,
    from_yaml,
    is_as_written,
    render_dataset,
)
from energon_prep.indexing.split import expand
from energon_prep.layout import META_DIR
from energon_prep.splits import SPLITS

REMEDY = "run energon-prep index"
_DATASET, _SPLIT = f"{META_DIR}/{DATASET_YAML}", f"{META_DIR}/{SPLIT_YAML}"


def dataset_problems(path: Path, needed: Mapping[str, Any]) -> Iterator[str]:
    """It must be of the class that ``index`` names, and have the ``needed`` subflavors, which tell
    trainers how to read the samples; more may be in it.
    """
    try:
        found = from_yaml(path.read_text())
        subflavors = found.get("subflavors", {})
        kind = {name: found.get(name) for name in ("__module__", "__class__")}
        if not isinstance(subflavors, dict):
            raise ValueError("it has no mapping of subflavors")
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        yield f"{_DATASET}: it cannot be read ({what}): {REMEDY} --force"
        return
    expected = from_yaml(render_dataset({}))
    if kind != expected:
        yield (
            f"{_DATASET}: it is of {kind['__module__']}:{kind['__class__']}, not of "
            f"{expected['__module__']}:{expected['__class__']}: {REMEDY} --force"
        )
    for name, value in needed.items():
        if subflavors.get(name) != value:
            what = (
                f"is {subflavors[name]!r}, not {value!r}"
                if name in subflavors
                else f"is missing, which is {value!r}"
            )
            yield (
                f"{_DATASET}: subflavor {name} {what}: by it trainers choose how samples are read: "
                f"put it back, or {REMEDY} --force"
            )


def dataset_notes(path: Path) -> Iterator[str]:
    """Whether somebody edited it, which is allowed."""
    with suppress(OSError, ValueError):
        if not is_as_written(path.read_text()):
            yield f"{_DATASET} was edited by hand, or by other tools"


def list_problems(name: str, listed: Mapping[str, int], tars: Sequence[str]) -> Iterator[str]:
    """Each tar must be listed, and each listed tar exist."""
    for tar in tars:
        if tar not in listed:
            yield f"{META_DIR}/{name}: {tar} is not in it: {REMEDY}"
    known = set(tars)
    for tar in listed:
        if tar not in known:
            yield f"{META_DIR}/{name}: {tar} is in it and not in the dataset: {REMEDY}"


def split_problems(path: Path, tars: Sequence[str]) -> Iterator[str]:
    """Every tar must be in one split of those that Energon knows, train among them."""
    try:
        config = from_yaml(path.read_text())
        parts = dict(config["split_parts"])
        names = [tar for part in parts.values() for item in part for tar in expand(item, len(tars))]
        excluded = config.get("exclude")
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        yield f"{_SPLIT}: it cannot be read ({type(error).__name__}: {error}): {REMEDY}"
        return
    listed = Counter(names)
    yield from list_problems(SPLIT_YAML, listed, tars)
    for tar, times in listed.items():
        if times > 1:
            yield f"{_SPLIT}: {tar} is in it {times} times: {REMEDY}"
    if "train" not in parts:
        yield f"{_SPLIT}: it has no split train, which training reads: {REMEDY}"
    for split in parts.keys() - set(SPLITS):
        yield f"{_SPLIT}: Energon knows no split {split!a}, only {', '.join(SPLITS)}: {REMEDY}"
    if excluded:
        yield f"{_SPLIT}: `exclude: {excluded}` takes samples out of training"
