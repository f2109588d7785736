"""What the public verbs share: options that are told in help, and a misspelt one that is told with
the nearest.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import textwrap
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
Options = TypeVar("Options")
Result = TypeVar("Result")
Value = TypeVar("Value")


def option(default: Value, meaning: str) -> Value:
    """A field of a dataclass of options: its default, and what it means in one sentence."""
    made: Value = dataclasses.field(default=default, metadata={"meaning": meaning})
    return made


def meanings(options: type) -> dict[str, str]:
    """By name, in the order in which they are declared."""
    return {field.name: field.metadata["meaning"] for field in dataclasses.fields(options)}


def takes(
    options: Callable[P, Options],
) -> Callable[[Callable[[Options], Result]], Callable[P, Result]]:
    """The verb takes, by keyword, the fields of the dataclass ``options``; signature and help show
    them.
    """

    def public(verb: Callable[[Options], Result]) -> Callable[P, Result]:
        @functools.wraps(verb)
        def call(*args: P.args, **kwargs: P.kwargs) -> Result:
            return verb(options(*args, **kwargs))

        assert isinstance(options, type)
        told = [
            textwrap.fill(f"{name}: {meaning}", 95, subsequent_indent="    ")
            for name, meaning in meanings(options).items()
        ]
        call.__doc__ = "\n".join([inspect.getdoc(verb) or "", "", "Options:", *told])
        call.__signature__ = inspect.signature(options).replace(  # type: ignore[attr-defined]
            return_annotation=verb.__annotations__["return"]
        )
        return nearest_named(call)

    return public


def nearest_named(verb: Callable[P, Result]) -> Callable[P, Result]:
    """The verb raises TypeError for an option that it does not have, naming the nearest."""
    known = list(inspect.signature(verb).parameters)

    @functools.wraps(verb)
    def call(*args: P.args, **kwargs: P.kwargs) -> Result:
        for name in kwargs:
            if name not in known:
                raise TypeError(_unknown(verb.__name__, name, known))
        return verb(*args, **kwargs)

    return call


def _unknown(verb: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
    return f"{verb}() has no option {name!r}, {hint}"


def listed(value: Any) -> tuple[Any, ...]:
    """One value, or several."""
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)
