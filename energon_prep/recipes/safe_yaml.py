"""YAML that others wrote as plain data: nothing in it runs, and nothing in it multiplies."""

from __future__ import annotations

from typing import Any

import yaml

_MOST_NODES = 100_000  #: that a document with aliases may stand for
_MOST_DEPTH = 100  #: the time that deep nesting takes is quadratic, and the stack it takes is the process's
_MOST_BITS = 1024  #: of an integer: Python does not write those of thousands of digits

_OPENING = (yaml.SequenceStartEvent, yaml.MappingStartEvent)
_CLOSING = (yaml.SequenceEndEvent, yaml.MappingEndEvent)

#: What PyYAML's constructors raise for values that are not of their kind: 2001-99-99, ``!!bool x``, 10,000 digits.
_BAD_VALUES = (ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    def construct_small_int(self, node: yaml.ScalarNode) -> int:
        number: int = self.construct_yaml_int(node)
        if number.bit_length() > _MOST_BITS:
            raise yaml.YAMLError(f"an integer of {number.bit_length()} bits{node.start_mark}")
        return number


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_small_int)


def parse_yaml(text: str) -> Any:
    """Raises yaml.YAMLError for what is no YAML, for deep nesting and for aliases that multiply ("billion laughs")."""
    try:
        _check_depth(text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is not None and "*" in text:
                _count_nodes(node, {})
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except _BAD_VALUES as error:
        raise yaml.YAMLError(f"{type(error).__name__}: {error}") from error


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, _OPENING) - isinstance(event, _CLOSING)
        if depth > _MOST_DEPTH:
            raise yaml.YAMLError(f"it is nested deeper than {_MOST_DEPTH}")


def _count_nodes(node: yaml.Node, seen: dict[int, int]) -> int:
    """How many nodes ``node`` stands for with its aliases written out; 0 in ``seen``: it is being counted."""
    found = seen.get(id(node))
    if found == 0:
        raise yaml.YAMLError("an alias stands for what it is part of: write it out")
    if found is None:
        seen[id(node)] = 0
        found = 1
        if isinstance(node, yaml.SequenceNode):
            found += sum(_count_nodes(item, seen) for item in node.value)
        elif isinstance(node, yaml.MappingNode):
            found += sum(_count_nodes(item, seen) for pair in node.value for item in pair)
        seen[id(node)] = found
    if found > _MOST_NODES:
        raise yaml.YAMLError(f"its aliases stand for more than {_MOST_NODES} values: write them out")
    return found
