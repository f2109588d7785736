"""The bytes of a part -> its value, without running anything that the bytes ask for."""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import torch

from cookers.tuples import MAX_TUPLE, refuse_multiplying_tuples

#: at the start of what torch.save wrote before 1.6: magic number, version, system, data, keys
_LEGACY_PICKLES = 5


class DecodeError(ValueError):
    """The bytes are not what the part's name says: damaged, cut off, or of another format."""


class UnsafePickleError(DecodeError):
    """The bytes ask for something that data does not need; the message names it. Nothing was
    run.
    """


def load_pth(data: bytes) -> Any:
    """What ``torch.save`` wrote: a tensor, or containers of tensors, on the CPU.

    This is ``torch.load(weights_only=True)``, which is only as safe as the installed torch: before
    2.10 crafted files could corrupt memory (CVE-2026-24747). Raises DecodeError, or
    UnsafePickleError if a global is asked for.
    """
    try:
        _refuse_bombs(data)
        return _resolve(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True), {})
    except DecodeError:
        raise
    except Exception as error:
        # damaged bytes come out of torch.load as a dozen types, MemoryError among them
        refused = (
            re.search(r"GLOBAL (\S+)", str(error))
            if isinstance(error, pickle.UnpicklingError)
            else None
        )
        if refused:
            raise UnsafePickleError(
                f"the pickle asks for {refused[1]}, which tensors do not need"
            ) from error
        raise DecodeError(f"not a file that torch.save wrote ({_summary(error)})") from error


def load_pickle(data: bytes) -> Any:
    """What ``pickle.dumps`` wrote, of plain containers and scalars, numpy arrays and CPU tensors.

    Tensors are read both as ``pickle.dumps`` writes them and as torch.save bytes inside the pickle.
    Arrays are numbers or text: object and structured dtypes are refused. Raises DecodeError, or
    UnsafePickleError if any other global is asked for.
    """
    try:
        return _resolve(_Unpickler(io.BytesIO(data)).load(), {})
    except DecodeError:
        raise
    except Exception as error:  # as above
        raise DecodeError(f"not a pickle of plain data ({_summary(error)})") from error


def load_json(data: bytes) -> Any:
    """A JSON document in UTF-8. Raises DecodeError."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"not JSON ({_summary(error)})") from error


def load_npy(data: bytes) -> np.ndarray[Any, np.dtype[Any]]:
    """What ``np.save`` wrote, of numbers. Raises DecodeError, or UnsafePickleError for arrays of
    objects.

    Not np.load, which allocates what the header asks for before it finds that the bytes are not
    there.
    """
    try:
        stream = io.BytesIO(data)
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        shape, is_fortran, dtype = read_header[version](stream)
        if dtype.kind not in "biufc":
            raise UnsafePickleError(f"an array of dtype {dtype}: only numbers are read")
        return _frombuffer(stream.read(), _DType(dtype.str), shape, "F" if is_fortran else "C")
    except DecodeError:
        raise
    except Exception as error:  # as above
        raise DecodeError(f"not a file that np.save wrote ({_summary(error)})") from error


def _summary(error: BaseException) -> str:
    # What torch puts before its reason is long and advises to load the file unsafely.
    lines = str(error).rpartition("WeightsUnpickler error: ")[2].splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


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
                    refuse_multiplying_tuples(io.BytesIO(archive.read(info)))
    else:
        stream = io.BytesIO(data)
        for _ in range(_LEGACY_PICKLES):
            refuse_multiplying_tuples(stream)


def _resolve(value: Any, seen: dict[int, Any]) -> Any:
    """Put arrays in the place of their placeholders, in place, and refuse tensors larger than what
    is stored.

    ``seen``: what each value became, for values may occur often, and within themselves.
    """
    if id(value) in seen:
        return seen[id(value)]
    seen[id(value)] = result = value
    if isinstance(value, (_Array, _DType)):
        result = value.resolve()
    elif isinstance(value, _Call):
        raise DecodeError("a function where data should be")
    elif isinstance(value, torch.Tensor):
        _require_stored(value)
    elif isinstance(value, dict):
        for key in value:
            value[key] = _resolve(value[key], seen)
    elif isinstance(value, list):
        value[:] = [_resolve(item, seen) for item in value]
    elif type(value) is tuple:
        result = tuple(_resolve(item, seen) for item in value)
    seen[id(value)] = result
    return result


def _require_stored(tensor: torch.Tensor) -> None:
    """A stride of 0 makes terabytes of one number, which the first copy would allocate."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise DecodeError(
            f"a tensor of layout {tensor.layout} on device {tensor.device}, not a dense one "
            "with data"
        )
    size, stored = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
    if size > stored:
        raise DecodeError(
            f"a tensor of shape {list(tensor.shape)} takes {size} bytes, but {stored} are stored"
        )


class _DType:
    """Stands for a numpy dtype while the pickle is read; a real one takes any flags, also those of
    object arrays.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, spec: object, *_: object) -> None:
        dtype = np.dtype(spec) if isinstance(spec, str) else None
        if dtype is None or dtype.kind not in "biufcSU" or not dtype.itemsize:
            raise UnsafePickleError(
                f"the pickle asks for an array of dtype {spec!r}: only numbers and text are read"
            )
        self._dtype = dtype

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, order, subarray, names, fields, *_sizes = state
        if order not in ("<", ">", "=", "|") or (subarray, names, fields) != (None, None, None):
            raise UnsafePickleError(
                f"the pickle asks for an array of a structured dtype: {state!r}"
            )
        self._dtype = self._dtype.newbyteorder(order)

    def resolve(self) -> np.dtype[Any]:
        return self._dtype


class _Array:
    """Stands for an array between its creation, empty, and its content, which is a step of its own
    in a pickle.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, *_: object) -> None:
        self._array: np.ndarray[Any, Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, is_fortran, data = state
        self._array = _frombuffer(data, dtype, shape, "F" if is_fortran else "C")

    def resolve(self) -> np.ndarray[Any, Any]:
        if self._array is None:
            raise DecodeError("an array without content")
        return self._array


class _Call:
    """What a global of a pickle becomes: a function that takes no attributes from the pickle and
    makes no instances.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: object) -> NoReturn:
        raise UnsafePickleError("the pickle sets attributes of a function")


def _frombuffer(data: Any, dtype: _DType, shape: Any, order: Any = "C") -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = np.ndarray(shape, dtype.resolve(), buffer=data, order=order)
    if array.nbytes != len(data):
        raise DecodeError(
            f"an array of shape {shape} takes {array.nbytes} bytes, but {len(data)} are stored"
        )
    return array.copy(order="K")


def _scalar(dtype: _DType, data: Any) -> Any:
    return _frombuffer(data, dtype, ())[()]


def _tensor(
    storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> torch.Tensor:
    if not isinstance(storage, torch.storage.TypedStorage):
        raise DecodeError(f"a tensor on a {type(storage).__name__}, not on a storage")
    source: Any = storage
    # Not set_(storage, offset, size, stride): that enlarges the storage as far as the shape asks
    # for.
    return torch.empty(0, dtype=storage.dtype).set_(source).as_strided(size, stride, offset)


def _bytes(data: Any = b"", encoding: str = "latin1", *_: object) -> bytes:
    """``bytes()``, and text as protocols before 3 store bytes; never a number, which would be a
    size to allocate.
    """
    if encoding not in ("latin1", "latin-1") or not isinstance(data, (str, bytes)):
        raise DecodeError(f"bytes out of a {type(data).__name__} in {encoding!r}")
    return data.encode("latin1") if isinstance(data, str) else data


def _bytearray(*args: Any) -> bytearray:
    return bytearray(_bytes(*args))


_GLOBALS: dict[tuple[str, str], _Call] = {
    ("collections", "OrderedDict"): _Call(OrderedDict),
    ("_codecs", "encode"): _Call(_bytes),
    ("numpy", "dtype"): _Call(_DType),
    ("numpy", "ndarray"): _Call(_Array),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_tensor),
    # torch's own is a torch.load that runs anything
    ("torch.storage", "_load_from_bytes"): _Call(load_pth),
}
_BUILTINS: dict[str, Callable[..., Any]] = {
    "set": set,
    "frozenset": frozenset,
    "complex": complex,
    "bytes": _bytes,
    "bytearray": _bytearray,
}
for _module in ("builtins", "__builtin__"):
    _GLOBALS |= {(_module, _name): _Call(_function) for _name, _function in _BUILTINS.items()}
for _module in ("numpy._core", "numpy.core"):  # numpy 2 and numpy 1
    _GLOBALS[_module + ".multiarray", "_reconstruct"] = _Call(_Array)
    _GLOBALS[_module + ".multiarray", "scalar"] = _Call(_scalar)
    _GLOBALS[_module + ".numeric", "_frombuffer"] = _Call(_frombuffer)


def _load_bytearray(unpickler: Any) -> None:
    """In place of Python's own, which allocates the size first and then finds that the bytes are
    not there.
    """
    size = int.from_bytes(unpickler.read(8), "little")
    data = bytearray(unpickler.read(size))
    if len(data) < size:
        raise DecodeError(f"a bytearray of {size} bytes, but {len(data)} are stored")
    unpickler.append(data)


def _load_limited(load: Callable[[Any], None]) -> Callable[[Any], None]:
    """``load`` makes a tuple. Of tuples of the same tuples a hash takes a time exponential in their
    depth.
    """

    def load_tuple(unpickler: Any) -> None:
        load(unpickler)
        made = unpickler.stack[-1]
        size = 1 + sum(unpickler.tuple_sizes.get(id(item), (1,))[0] for item in made)
        if size > MAX_TUPLE:
            raise DecodeError(f"tuples within tuples of more than {MAX_TUPLE} values")
        # which keeps its id from being given to another
        unpickler.tuple_sizes[id(made)] = (size, made)

    return load_tuple


_TUPLES = (pickle.TUPLE[0], pickle.TUPLE1[0], pickle.TUPLE2[0], pickle.TUPLE3[0])


# The unpickler written in Python: the one in C allocates as many memo slots as five crafted bytes
# ask for.
class _Unpickler(pickle._Unpickler):
    """Gives a pickle the globals of the table above and the torch dtypes, and nothing else."""

    dispatch = {
        **pickle._Unpickler.dispatch,
        pickle.BYTEARRAY8[0]: _load_bytearray,
        **{opcode: _load_limited(pickle._Unpickler.dispatch[opcode]) for opcode in _TUPLES},
    }

    def load(self) -> Any:
        self.tuple_sizes: dict[int, tuple[int, Any]] = {}
        return super().load()

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _GLOBALS:
            return _GLOBALS[module, name]
        # getattr would import lazy submodules
        dtype = vars(torch).get(name) if module == "torch" else None
        if isinstance(dtype, torch.dtype):
            return dtype
        raise UnsafePickleError(f"the pickle asks for {module}.{name}, which data does not need")
