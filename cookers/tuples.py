"""Whether tuples in a pickle multiply, told without loading it."""

from __future__ import annotations

import pickletools
from typing import Any, BinaryIO

MAX_TUPLE = 1_000_000  #: values in a tuple, those in its tuples each time that they occur

_MARK = object()
_TUPLES = {"EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}


def refuse_multiplying_tuples(stream: BinaryIO) -> None:
    """Raise ValueError for a pickle with tuples of the same tuples many times over, and for a
    broken one.

    As a key of a dictionary or in a set such a tuple is hashed, which takes a time exponential in
    its depth. ``stream`` is left behind the pickle. Its opcodes are gone through with the size of
    each value in its place.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for opcode, argument, _ in pickletools.genops(stream):
        popped = _pop(stack, opcode)
        size: Any = 1
        if opcode.name in _TUPLES:
            size = 1 + sum(item for item in popped if item is not _MARK)
            if size > MAX_TUPLE:
                raise ValueError(f"tuples within tuples of more than {MAX_TUPLE} values")
        elif opcode.name in _GETS:
            size = memo.get(int(argument or 0), 1)
        elif opcode.name in _PUTS or opcode.name == "MEMOIZE":
            size = popped[-1] if popped else stack[-1]
            memo[len(memo) if argument is None else int(argument)] = size
        elif opcode.name == "DUP":
            size = popped[-1]
        stack += [_MARK if kind is pickletools.markobject else size for kind in opcode.stack_after]


def _pop(stack: list[Any], opcode: pickletools.OpcodeInfo) -> list[Any]:
    """What the opcode takes from the stack, from the last mark on if it takes a slice."""
    count = len(opcode.stack_before)
    if pickletools.markobject in opcode.stack_before:
        mark = max(place for place, item in enumerate(stack) if item is _MARK)
        count = len(stack) - mark + opcode.stack_before.index(pickletools.markobject)
    if count > len(stack):
        raise ValueError(f"the pickle's {opcode.name} finds too little on its stack")
    popped = stack[len(stack) - count :]
    del stack[len(stack) - count :]
    return popped
