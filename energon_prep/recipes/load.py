"""From a name or a YAML file, with the user's changes, to a validated Recipe."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from energon_prep.errors import UsageError
from energon_prep.recipes.model import Recipe, Text
from energon_prep.recipes.safe_yaml import parse_yaml

_PRESETS = Path(__file__).parent / "presets"
_MAX_BYTES = 2**20  #: of a recipe file


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.stem for path in _PRESETS.glob("*.yaml"))


def load_recipe(recipe: str | Path | Recipe, changes: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of that name or YAML file, with ``changes`` made to it.

    A change is a field's dotted path and its new value: ``{"resize.resolution": "720x1280"}``.
    ``text.max_tokens`` changes every text encoder, ``text.clip.max_tokens`` (or
    ``text.1.max_tokens``) one of them. A user's YAML may say ``extends: NAME`` and give only what
    differs. Raises PrepError naming the nearest valid field for one it does not know.
    """
    if isinstance(recipe, Recipe):
        name, fields = recipe.name, recipe.model_dump(mode="json")
    else:
        name, fields = str(recipe), _read(recipe)
    for path, value in (changes or {}).items():
        _change(fields, path, value)
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        raise UsageError(f"recipe {name}: {'; '.join(_explained(error))}") from error


def dump_recipe(recipe: Recipe) -> str:
    """The whole recipe as YAML that ``load_recipe`` reads back."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def _read(recipe: str | Path, children: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a recipe, and of what it extends. ``children``: the recipes that extend this
    one.
    """
    path = Path(recipe)
    if path.suffix not in (".yaml", ".yml"):
        path = _PRESETS / f"{recipe}.yaml"
        if "/" in str(recipe) or not path.is_file():
            names = recipe_names()
            near = difflib.get_close_matches(str(recipe), names, n=1)
            raise UsageError(
                f"there is no recipe {str(recipe)!r}"
                + (f", did you mean {near[0]!r}? The" if near else ": the")
                + f" recipes are {', '.join(names)}; a file of your own ends in .yaml"
            )
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"the recipe {path} is no file: give a YAML file")
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise UsageError(
                f"the recipe {path} has more than {_MAX_BYTES} bytes: give a recipe file"
            )
        fields = parse_yaml(text.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the recipe {path}: {error}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"cannot read the recipe {path}: {explain_yaml(error)}") from error
    if not isinstance(fields, dict):
        raise UsageError(
            f"the recipe {path} is not a mapping of fields but a {type(fields).__name__}"
        )
    parent = fields.pop("extends", None)
    if parent is None:
        return fields
    children = (*children, str(recipe))
    if not isinstance(parent, str) or parent in children:
        raise UsageError(
            f"the recipe {path} extends {_shown(parent)}: give the name of another recipe"
        )
    return _merge(_read(parent, children), {"name": path.stem} | fields)


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` on top of ``base``, mapping by mapping; lists are replaced whole."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = (
            _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
        )
    return merged


def _change(fields: dict[str, Any], path: str, value: Any) -> None:
    """Set one dotted path; the text encoders are a list, addressed by name, by number or all
    together.
    """
    head, _, rest = path.partition(".")
    if head == "text" and rest:
        texts = fields["text"] = [dict(text) for text in fields.get("text", [])]
        which, _, field = rest.partition(".")
        chosen = [text for i, text in enumerate(texts) if which in (str(i), text.get("name"))]
        if field and not chosen and which == "options":
            chosen, field = texts, rest
        if field and not chosen:
            names = ", ".join(str(text.get("name")) for text in texts)
            raise UsageError(
                f"--set {path}: the recipe has no text encoder {which!r}; it has {names}"
            )
        for text in chosen if field else texts:
            _set(text, field or which, value)
        return
    section = fields
    *sections, last = path.split(".")
    for name in sections:
        inner = section.get(name, {})
        if not isinstance(inner, dict):
            raise UsageError(f"--set {path}: {name} is a value, it has no field {last!r}")
        section[name] = section = dict(inner)
    _set(section, last, value)


def _set(section: dict[str, Any], field: str, value: Any) -> None:
    """An encoder's ``model`` that is set here is one that the user named."""
    field, _, option = field.partition(".")
    if option and isinstance(section.get(field, {}), Mapping):
        value = {**section.get(field, {}), option: value}
    elif option:
        raise UsageError(f"--set {field}.{option}: {field} is a value, it has no field {option!r}")
    section[field] = value
    if field == "model":
        section["named"] = True


#: Parts of an error's place that stand for one of several types a field may have.
_PYDANTICS_OWN = re.compile(r"\(|^constrained-|^literal\[")


def _explained(error: ValidationError) -> list[str]:
    """What is wrong, each thing once: a field that may have several types is wrong for each of
    them, and a list that lacks what was wrong is not too short.
    """
    errors: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        (_location(found), dict(found)) for found in error.errors()
    ]
    said: dict[tuple[Any, ...], str] = {}
    for place, found in errors:
        follows = any(
            len(other) > len(place) and other[: len(place)] == place for other, _ in errors
        )
        if found["type"] == "too_short" and follows:
            continue
        other = f", or {found['msg'].removeprefix('Input should be ')}"
        if place not in said:
            said[place] = _explain(list(place), found)
        elif found["type"] == "literal_error" and other not in said[place]:
            said[place] += other
    return list(said.values())


def _location(error: Mapping[str, Any]) -> tuple[Any, ...]:
    """The field, without what pydantic calls its types, and the sides of a size."""
    place = tuple(
        part for part in error["loc"] if not (isinstance(part, str) and _PYDANTICS_OWN.search(part))
    )
    is_side = len(place) > 1 and place[-2] == "resolution" and isinstance(place[-1], int)
    return place[:-1] if is_side else place


def explain_yaml(error: yaml.YAMLError) -> str:
    """In one line: where it is, and what."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    what = ", ".join(filter(None, (getattr(error, "context", ""), getattr(error, "problem", ""))))
    return f"line {mark.line + 1}, column {mark.column + 1}: {what}"


def _explain(location: list[Any], error: dict[str, Any]) -> str:
    """One line for one of pydantic's errors, naming the field, its value and, if unknown, the
    nearest field.
    """
    if error["type"] == "extra_forbidden" and location[-1:] != [error["loc"][-1]]:
        location.append(error["loc"][-1])  # what the user wrote, whatever is in it
    path = ".".join(str(part) for part in location)
    if error["type"] == "extra_forbidden":
        fields = list(_section(location[:-1]).model_fields)
        near = difflib.get_close_matches(str(location[-1]), fields, n=1, cutoff=0.5)
        here = ".".join(str(part) for part in location[:-1])
        hint = (
            f"did you mean {'.'.join(filter(None, (here, near[0])))}?"
            if near
            else f"it has {', '.join(fields)}"
        )
        return f"{path} is not a field of {here or 'a recipe'}, {hint}"
    if error["type"] == "missing":
        return f"{path} is missing"
    message = error["msg"].removeprefix("Value error, ")
    value = error["input"]
    return (
        f"{path} = {_shown(value)}: {message}"
        if not isinstance(value, (dict, list))
        else f"{path}: {message}"
    )


def _shown(value: object) -> str:
    try:
        return f"{value!r:.200}"
    except ValueError:  # Python writes no number of thousands of digits
        return "a number of thousands of digits"


def _section(location: list[Any]) -> type[BaseModel]:
    """The model class at a place in the recipe."""
    model: type[BaseModel] = Recipe
    for part in location:
        if isinstance(part, int):
            model = Text
            continue
        annotation = model.model_fields[part].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return model
