"""Run.json says what a destination is made of, so that nothing else is mixed in."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Iterator, Mapping
from typing import Any

import energon_prep
from energon_prep.device.batch_sizes import BatchSizes
from energon_prep.errors import PrepError, UsageError
from energon_prep.layout import LEDGER_HEAD, RUN
from energon_prep.shards.head import publish_noted, read_head
from energon_prep.storage import Storage

SCHEMA = 5  #: of everything on disk; raised with every incompatible change

_SECTIONS = (
    "recipe",
    "source",
    "cut",
    "encoders",
    "batch_sizes",
    "target",
    "runtime",
    "versions",
)  #: of run.json, each a mapping
_LIBRARIES = ("torch", "transformers", "diffusers", "tokenizers", "numpy", "pillow", "av")


def versions() -> dict[str, str]:
    """Of what decides the bytes."""
    found = {"python": platform.python_version(), "energon-prep": energon_prep.__version__}
    for library in _LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def read_run(storage: Storage) -> dict[str, Any] | None:
    """run.json, or None for a new destination. Raises PrepError for one of another schema."""
    if not storage.exists(RUN):
        return None
    try:
        run = json.loads(storage.read(RUN))
        schema = run["schema"]
        if schema == SCHEMA:
            _require_sound(run)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PrepError(
            f"{RUN} of the destination is damaged ({error}): start over with --overwrite"
        ) from error
    if schema != SCHEMA:
        raise PrepError(
            f"the destination was written in schema {schema}, this energon-prep "
            f"({energon_prep.__version__}) writes {SCHEMA}: go on with the version that began "
            f"it ({run.get('versions')})"
        )
    head = read_head(storage)
    if head is not None and not head.fits(storage, RUN):
        raise PrepError(
            f"{RUN} of the destination is not the one that was written there (its sha256 is not "
            f"that in {LEDGER_HEAD}): restore it, or start over with --overwrite"
        )
    return dict(run)


def _require_sound(run: Mapping[str, Any]) -> None:
    """Raise KeyError, TypeError or ValueError for what ``write_run`` does not write."""
    for name in _SECTIONS:
        if not isinstance(run[name], dict):
            raise TypeError(f"{name} is {type(run[name]).__name__}")
    if type(run["runtime"]["torch_threads"]) is not int:
        raise TypeError("torch_threads is no number")
    BatchSizes.parse(run["batch_sizes"])


def write_run(storage: Storage, run: Mapping[str, Any]) -> None:
    data = json.dumps({"schema": SCHEMA, **run}, indent=2) + "\n"
    publish_noted(storage, RUN, data.encode("ascii"))


def refuse_other(old: Mapping[str, Any], new: Mapping[str, Any], *, where: str) -> None:
    """Raise PrepError, naming each difference, if ``new`` would not continue ``old`` with the same
    bytes.
    """
    differences = list(_differences(old, new))
    if differences:
        shown = "\n".join(f"  {line}" for line in differences[:8])
        more = f"\n  and {len(differences) - 8} more" if len(differences) > 8 else ""
        raise UsageError(
            f"{where} was begun with something else:\n{shown}{more}\n"
            "Run it as it was begun, write to another destination, or start over with --overwrite"
        )


def fields_of(old: Any, new: Any) -> Any:
    """Of what is there, the fields that ``new`` has too."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return {key: fields_of(old.get(key), value) for key, value in new.items()}
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [fields_of(before, now) for before, now in zip(old, new, strict=True)]
    return old


def _differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _differences(
                old.get(key), new.get(key), f"{path}.{key}" if path else str(key)
            )
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (before, now) in enumerate(zip(old, new, strict=True)):
            yield from _differences(before, now, f"{path}.{i}")
    elif old != new:
        yield f"{path}: {json.dumps(old)} there, {json.dumps(new)} now"
