"""The bytes of a part -> its value, without running anything that the bytes ask for.

For training: as fast as a reader that runs what it reads, and no guard against bytes made to take
memory or time. ``cookers.strict`` is one, for data of strangers.
"""

from __future__ import annotations

import io
import json
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import torch

from cookers.torch_files import TorchFiles


class DecodeError(ValueError):
    """The bytes are not what the part's name says: damaged, cut off, or of another format."""


class UnsafePickleError(DecodeError):
    """The bytes ask for something that data does not need; the message names it. Nothing was
    run.
    """


def load_pth(data: bytes) -> Any:
    """What ``torch.save`` wrote: a tensor, or containers of tensors, on the CPU.

    This is ``torch.load(weights_only=True)``, which is only as safe as the installed torch: before
    2.10 crafted files could corrupt memory (CVE-2026-24747). It is no longer asked about files that
    differ in nothing but their numbers from one that it has read; their tensors lie in ``data``
    itself, so that writing to them changes the bytes. Raises DecodeError, or UnsafePickleError if a
    global is asked for.
    """
    return _FILES.load(data)


def _load_pth(data: bytes | bytearray) -> Any:
    try:
        return resolve(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True), {})
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
        raise DecodeError(f"not a file that torch.save wrote ({summary(error)})") from error


_FILES = TorchFiles(_load_pth)


def load_pickle(data: bytes) -> Any:
    """What ``pickle.dumps`` wrote, of plain containers and scalars, numpy arrays and CPU tensors.

    Tensors are read both as ``pickle.dumps`` writes them and as torch.save bytes inside the pickle.
    Arrays are numbers or text: object and structured dtypes are refused. Raises DecodeError, or
    UnsafePickleError if any other global is asked for.

    Crafted bytes run nothing, but can take memory and time: five of them have the unpickler take 16
    bytes for each of 2 ** 32 memo slots, and a hash of tuples of the same tuples takes a time
    exponential in their depth. Training accepts that of the dataset that it was pointed at, and
    reads at the speed of ``pickle.loads``; ``energon-prep verify`` refuses such bytes.
    """
    try:
        return resolve(_Unpickler(io.BytesIO(data)).load(), {})
    except DecodeError:
        raise
    except Exception as error:  # as above
        raise DecodeError(f"not a pickle of plain data ({summary(error)})") from error


def load_json(data: bytes) -> Any:
    """A JSON document in UTF-8. Raises DecodeError."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"not JSON ({summary(error)})") from error


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
        raise DecodeError(f"not a file that np.save wrote ({summary(error)})") from error


def summary(error: BaseException) -> str:
    # What torch puts before its reason is long and advises to load the file unsafely.
    lines = str(error).rpartition("WeightsUnpickler error: ")[2].splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def resolve(value: Any, seen: dict[int, Any]) -> Any:
    """Put arrays in the place of their placeholders, in place, and refuse tensors larger than what
    is stored.

    ``seen``: what each value became, for values may occur often, and within themselves.
    """
    if id(value) in seen:
        return seen[id(value)]
    seen[id(value)] = result = value
    if isinstance(value, (_Array, _DType)):
        result = value.resolve()
    elif isinstance(value, Call):
        raise DecodeError("a function where data should be")
    elif isinstance(value, torch.Tensor):
        _require_stored(value)
    elif isinstance(value, dict):
        for key in value:
            value[key] = resolve(value[key], seen)
    elif isinstance(value, list):
        value[:] = [resolve(item, seen) for item in value]
    elif type(value) is tuple:
        result = tuple(resolve(item, seen) for item in value)
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


class Call:
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


#: All that a pickle may ask for, besides the torch dtypes.
GLOBALS: dict[tuple[str, str], Call] = {
    ("collections", "OrderedDict"): Call(OrderedDict),
    ("_codecs", "encode"): Call(_bytes),
    ("numpy", "dtype"): Call(_DType),
    ("numpy", "ndarray"): Call(_Array),
    ("torch._utils", "_rebuild_tensor_v2"): Call(_tensor),
    # torch's own is a torch.load that runs anything
    ("torch.storage", "_load_from_bytes"): Call(load_pth),
}
_BUILTINS: dict[str, Callable[..., Any]] = {
    "set": set,
    "frozenset": frozenset,
    "complex": complex,
    "bytes": _bytes,
    "bytearray": _bytearray,
}
for _module in ("builtins", "__builtin__"):
    GLOBALS |= {(_module, _name): Call(_function) for _name, _function in _BUILTINS.items()}
for _module in ("numpy._core", "numpy.core"):  # numpy 2 and numpy 1
    GLOBALS[_module + ".multiarray", "_reconstruct"] = Call(_Array)
    GLOBALS[_module + ".multiarray", "scalar"] = Call(_scalar)
    GLOBALS[_module + ".numeric", "_frombuffer"] = Call(_frombuffer)


def find_allowed(module: str, name: str) -> Any:
    """What a pickle gets for a global: those of the table above and the torch dtypes.

    Raises UnsafePickleError for any other.
    """
    if (module, name) in GLOBALS:
        return GLOBALS[module, name]
    # getattr would import lazy submodules
    dtype = vars(torch).get(name) if module == "torch" else None
    if isinstance(dtype, torch.dtype):
        return dtype
    raise UnsafePickleError(f"the pickle asks for {module}.{name}, which data does not need")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return find_allowed(module, name)
