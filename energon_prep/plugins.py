"""Names in a recipe or on the command line -> classes that users bring: entry points, or
``package.module:Class``.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from energon_prep.errors import UsageError

Kind = Literal["visual", "text", "target", "source"]

#: Of distributions that bring classes under names of their own.
GROUPS: Mapping[Kind, str] = {
    "visual": "energon_prep.visual",
    "text": "energon_prep.text",
    "target": "energon_prep.target",
    "source": "energon_prep.source",
}
FORMS = "an installed entry point or package.module:Class"

_SAID: Mapping[Kind, str] = {
    "visual": "visual encoder",
    "text": "text encoder",
    "target": "target",
    "source": "source",
}
_PLACE = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_][\w.]*)")


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """An object of a user's class."""

    made: Any
    #: class, distribution, version and sha256 of the module's file: JSON-able
    about: dict[str, Any]


def is_place(name: str) -> bool:
    """Whether ``name`` has the form ``package.module:Class``."""
    return _PLACE.fullmatch(name) is not None


def is_plugin(kind: Kind, name: str) -> bool:
    """Whether ``name`` is that of a user's class; nothing is imported."""
    return is_place(name) or bool(_entry_points(kind, name))


def names_of(kind: Kind) -> list[str]:
    """The entry points that installed distributions have."""
    return sorted({point.name for point in metadata.entry_points(group=GROUPS[kind])})


def make(
    kind: Kind,
    name: str,
    *,
    members: Sequence[str],
    arguments: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Plugin:
    """Import the class ``name`` and make an object of it; all that it is given is given by keyword.

    ``arguments`` are ours, ``options`` those of the recipe.

    ``members``: what the class must have. Raises PrepError, with the cause, if the class cannot be
    imported or made, or lacks one.
    """
    place, distribution = _place(kind, name)
    said = f"{_SAID[kind]} {name!r}"
    module, attribute = place.split(":")
    found = _imported(said, module, attribute)
    missing = [member for member in members if not hasattr(found, member)]
    if missing:
        raise UsageError(
            f"{said} lacks {', '.join(missing)}: a {_SAID[kind]} must have "
            f"{', '.join(members)} (docs/extending.md)"
        )
    given = {**(options or {}), **(arguments or {})}
    taken = sorted((options or {}).keys() & (arguments or {}).keys())
    if taken:
        raise UsageError(f"{said}: {taken[0]} is given by energon-prep, take it out of options")
    try:
        made = found(**given)
    except Exception as error:
        raise UsageError(
            f"{said} cannot be made with {', '.join(given) or 'nothing'} as keyword "
            f"arguments: {_shown(error)}"
        ) from error
    return Plugin(made=made, about=_about(place, distribution))


def identify(kind: Kind, name: str) -> dict[str, Any]:
    """``Plugin.about`` of the class; nothing of it is run. Raises PrepError if there is none."""
    return _about(*_place(kind, name))


def refuse_other_module(kind: Kind, name: str, about: Mapping[str, Any], *, outside: Path) -> None:
    """Raise PrepError unless ``package.module:Class`` is still what a dataset says it was made
    with.

    A dataset may be a stranger's, and importing a module runs it. So what a dataset names is taken
    only if the module's file is the recorded one, and lies ``outside`` of the dataset. Entry points
    are of what the user installed for this very purpose, and are taken as they are.
    """
    if not is_place(name):
        return
    file = _file_of(name.partition(":")[0])
    if file is None or file.is_relative_to(outside) or _sha256(file) != about.get("sha256"):
        or_use = f", and give --target {name} to use what is there" if kind == "target" else ""
        there = "is not to be found" if file is None else f"in {file} is not what it was made with"
        raise UsageError(
            f"the dataset names the {_SAID[kind]} {name}, which {there}: put the module's "
            f"folder on PYTHONPATH{or_use}"
        )


def _entry_points(kind: Kind, name: str) -> list[metadata.EntryPoint]:
    return list(metadata.entry_points(group=GROUPS[kind], name=name))


def _place(kind: Kind, name: str) -> tuple[str, metadata.Distribution | None]:
    """``module:Class``, and the distribution that has it as an entry point."""
    if is_place(name):
        return name, _distribution_of(name.partition(":")[0])
    points = _entry_points(kind, name)
    if not points:
        raise UsageError(f"there is no {_SAID[kind]} {name!r}: give {FORMS}")
    places = {point.value.replace(" ", "") for point in points}
    if len(places) > 1:
        raise UsageError(
            f"{_SAID[kind]} {name!r} is an entry point of several distributions "
            f"({', '.join(sorted(places))}): give one of these"
        )
    place = places.pop()
    if not is_place(place):
        raise UsageError(f"the entry point {name!r} is {place!r}, not package.module:Class")
    return place, points[0].dist


def _imported(said: str, module: str, attribute: str) -> Any:
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        raise UsageError(
            f"{said}: the module {module} cannot be imported ({_shown(error)}): install it, or put "
            "its folder on PYTHONPATH"
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), n=1)
            hint = f", did you mean {near[0]}?" if near else ""
            raise UsageError(f"{said}: {module} has no {attribute}{hint}")
        found = getattr(found, part)
    if not isinstance(found, type):
        raise UsageError(f"{said} is a {type(found).__name__}, not a class")
    return found


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _about(place: str, distribution: metadata.Distribution | None) -> dict[str, Any]:
    file = _file_of(place.partition(":")[0])
    return {
        "class": place,
        "distribution": None if distribution is None else distribution.metadata["Name"],
        "version": None if distribution is None else distribution.version,
        "sha256": None if file is None else _sha256(file),
    }


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _file_of(module: str) -> Path | None:
    """The file of a module that is imported or can be; found without running it."""
    path: Sequence[str] | None = None
    spec, parts = None, module.split(".")
    for number in range(1, len(parts) + 1):
        name = ".".join(parts[:number])
        finders = (finder.find_spec(name, path) for finder in sys.meta_path)
        spec = next((found for found in finders if found is not None), None)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    file = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
    return file if file is not None and file.is_file() else None


@functools.cache
def _distribution_of(module: str) -> metadata.Distribution | None:
    """The distribution that installed the module's file; None: it lies in a folder of the
    user's.
    """
    file, top = _file_of(module), module.partition(".")[0]
    if file is None:
        return None
    root = next((parent.parent for parent in file.parents if parent.name == top), file.parent)
    for distribution in metadata.distributions(path=[str(root)]):
        if any(part.parts[0] in (top, f"{top}.py") for part in distribution.files or ()):
            return distribution
    return None
