"""The bytes of a stranger's part -> its value: as ``cookers.safe`` has it, once it is known that
they take no more memory or time than their number explains.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from typing import Any

from cookers import safe
from cookers.safe import Call, DecodeError, find_allowed, resolve, summary

MAX_TUPLE = 1_000_000  #: values in a tuple, those in its tuples each time that they occur
#: at the start of what torch.save wrote before 1.6: magic number, version, system, data, keys
_LEGACY_PICKLES = 5

_MARK = object()
_TUPLES = {"EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}


def load_pth(data: bytes) -> Any:
    """What ``safe.load_pth`` gives; DecodeError for a file that unpacks to more than it is, or
    whose pickle asks for more than data does.
    """
    try:
        _refuse_bombs(data)
    except DecodeError:
        raise
    except Exception as error:  # damaged bytes come out of zipfile and pickletools as many types
        raise DecodeError(f"not a file that torch.save wrote ({summary(error)})") from error
    return safe.load_pth(data)


def load_pickle(data: bytes) -> Any:
    """What ``safe.load_pickle`` gives; DecodeError for a pickle that asks for more than data does:
    a memo of more slots than it has bytes, or tuples that multiply.
    """
    try:
        _refuse_bomb(io.BytesIO(data))
        return resolve(_Unpickler(io.BytesIO(data)).load(), {})
    except DecodeError:
        raise
    except Exception as error:  # as above
        raise DecodeError(f"not a pickle of plain data ({summary(error)})") from error


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = find_allowed(module, name)
        return _LOAD_PTH if found is _LAX_LOAD_PTH else found


#: tensors within a pickle are loaded strictly too
_LOAD_PTH, _LAX_LOAD_PTH = Call(load_pth), find_allowed("torch.storage", "_load_from_bytes")


def _refuse_bombs(data: bytes) -> None:
    """torch.save stores its records as they are, so that they cannot be larger than the file."""
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            records = archive.infolist()
            size = sum(info.file_size for info in records)
            if size > len(data):
                raise DecodeError(
                    f"{len(data)} bytes unpack to {size}: torch.save compresses nothing"
                )
            for info in records:
                if info.filename.endswith("data.pkl"):
                    _refuse_bomb(io.BytesIO(archive.read(info)))
    else:
        stream = io.BytesIO(data)
        for _ in range(_LEGACY_PICKLES):
            _refuse_bomb(stream)


def _refuse_bomb(stream: io.BytesIO) -> None:
    """Raise ValueError for a pickle with tuples of the same tuples many times over, for one that
    names a memo slot beyond its bytes, and for a broken one.

    As a key of a dictionary or in a set such a tuple is hashed, which takes a time exponential in
    its depth; memory is taken for all slots up to the highest. ``stream`` is left behind the
    pickle. Its opcodes are gone through with the size of each value in its place.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    num_bytes = len(stream.getbuffer())
    for opcode, argument, _ in pickletools.genops(stream):
        popped = _pop(stack, opcode)
        size: Any = 1
        if opcode.name in _TUPLES:
            size = 1 + sum(item for item in popped if item is not _MARK)
            if size > MAX_TUPLE:
                raise DecodeError(f"tuples within tuples of more than {MAX_TUPLE} values")
        elif opcode.name in _GETS:
            size = memo.get(int(argument or 0), 1)
        elif opcode.name in _PUTS or opcode.name == "MEMOIZE":
            size = popped[-1] if popped else stack[-1]
            slot = len(memo) if argument is None else int(argument)
            if slot > num_bytes:
                raise DecodeError(f"memo slot {slot} in a pickle of {num_bytes} bytes")
            memo[slot] = size
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
