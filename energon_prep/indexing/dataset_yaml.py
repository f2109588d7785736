"""Station 7, indexing: dataset.yaml, which is ours to rewrite until somebody edits it.

Its first line carries a hash of the rest; a file whose hash does not fit was edited, or written by others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import yaml

from energon_prep.errors import PrepError
from energon_prep.indexing.meta import from_yaml, to_yaml

Outcome = Literal["written", "kept", "unchanged"]

_MARK = "# Written by energon-prep, which keeps this file once you edit it. sha256:"


def render(subflavors: Mapping[str, Any]) -> str:
    """The dataset as Energon's CrudeWebdataset. Raises PrepError for subflavors that YAML cannot hold."""
    content: dict[str, Any] = {"__module__": "megatron.energon", "__class__": "CrudeWebdataset"}
    if subflavors:
        content["subflavors"] = dict(subflavors)
    try:
        body = to_yaml(content)
    except yaml.YAMLError as error:
        raise PrepError(f"subflavors {dict(subflavors)!r} cannot be written as YAML: use plain values") from error
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


def complete(given: Mapping[str, Any], needed: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` subflavors with those that the dataset's target needs. Raises PrepError where they contradict these."""
    for name, value in needed.items():
        if given.get(name, value) != value:
            raise PrepError(
                f"subflavor {name}={given[name]}: the dataset's target needs {name}={value}, by which trainers choose "
                "how samples are read: leave it out, or give yours another name"
            )
    return {**needed, **given}


def dropped(existing: str | None, new: str) -> dict[str, Any]:
    """Subflavors of an ``existing`` file that ``new`` lacks."""
    try:
        before = {} if existing is None else read_subflavors(existing)
    except ValueError:
        return {}
    after = read_subflavors(new)
    return {name: value for name, value in before.items() if name not in after}


def decide(existing: str | None, new: str, *, force: bool) -> Outcome:
    """What becomes of an ``existing`` file: rewritten if it is ours or ``force``, kept if it was edited."""
    if existing == new or (existing is not None and not force and _says_the_same(existing, new)):
        return "unchanged"
    return "written" if existing is None or force or _is_ours(existing) else "kept"


def _is_ours(text: str) -> bool:
    first, _, body = text.partition("\n")
    return first == f"{_MARK}{_hash(body)}"


def _says_the_same(one: str, other: str) -> bool:
    try:
        return bool(from_yaml(one) == from_yaml(other))
    except yaml.YAMLError:
        return False


def _hash(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
