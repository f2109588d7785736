"""YAML that others wrote as plain data: nothing in it runs, and nothing in it multiplies."""

from __future__ import annotations

from typing import Any

import yaml

_MOST_DEPTH = 100  #: the time that deep nesting takes is quadratic, and its stack is the process's
_MOST_BITS = 1024  #: of an integer: Python does not write those of thousands of digits

_OPENING = (yaml.SequenceStartEvent, yaml.MappingStartEvent)
_CLOSING = (yaml.SequenceEndEvent, yaml.MappingEndEvent)

#: What PyYAML's constructors raise for values not of their kind: 2001-99-99, ``!!bool x``.
_BAD_VALUES = (ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    def construct_small_int(self, node: yaml.ScalarNode) -> int:
        number: int = self.construct_yaml_int(node)
        if number.bit_length() > _MOST_BITS:
            raise yaml.YAMLError(f"an integer of {number.bit_length()} bits{node.start_mark}")
        return number


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_small_int)


def parse_yaml(text: str) -> Any:
    """Raises yaml.YAMLError for what is no YAML, for deep nesting and for aliases ("billion
    laughs").
    """
    try:
        _check_events(text)
        return yaml.load(text, Loader=_Loader)
    except _BAD_VALUES as error:
        raise yaml.YAMLError(f"{type(error).__name__}: {error}") from error


def _check_events(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, _OPENING) - isinstance(event, _CLOSING)
        if depth > _MOST_DEPTH:
            raise yaml.YAMLError(f"it is nested deeper than {_MOST_DEPTH}")
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(
                f"an alias (*{event.anchor}), which is not read here: write it out"
            )
