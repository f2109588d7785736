from __future__ import annotations

import collections
import contextlib
import io
import pickle
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cookers import (
    DecodeError,
    UnsafePickleError,
    load_json,
    load_npy,
    load_pickle,
    load_pth,
    safe,
    strict,
)
from tests.datasets import Poison, torch_bytes

# torch.load warns of each protocol that is not its own
pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")

PROTOCOLS = (2, 3, 4, 5)


class StablePickler(pickle.Pickler):
    """Stores tensors as their torch.save bytes, as the datasets' own writer does."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, torch.Tensor):
            return torch.storage._load_from_bytes, (torch_bytes(obj),)
        return NotImplemented


def stable_pickle(value: Any) -> bytes:
    buffer = io.BytesIO()
    StablePickler(buffer, protocol=4).dump(value)
    return buffer.getvalue()


class LoadFromBytes:
    """Pickles as a call of torch.storage._load_from_bytes with these bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return torch.storage._load_from_bytes, (self.data,)


TENSORS = (
    torch.randn(3, 4).bfloat16(),
    torch.randn(3, 4).half().t(),
    torch.randn(5, 5)[1:3, 2:],
    torch.zeros(0, 4),
    torch.tensor(3.0, dtype=torch.float64),
    torch.randn(3, requires_grad=True),
    torch.arange(4),
    torch.tensor([True, False]),
)

ARRAYS = (
    np.arange(6, dtype=np.float16).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    np.arange(6, dtype=">f4"),
    np.arange(16).reshape(4, 4)[::2, ::2],
    np.zeros((0, 3)),
    np.array(2.5),
    np.array(["a", "bc"]),
    np.array([True, False]),
)

PLAIN = (
    None,
    [
        1,
        2.5,
        "text",
        b"bytes",
        b"",
        True,
        (1, (2,)),
        {3},
        frozenset({4}),
        5j,
        bytearray(b"x"),
        bytearray(b""),
    ],
    {"a": {"b": [{}]}, 1: None},
    collections.OrderedDict(b=1, a=2),
    2**100,
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("value", PLAIN)
def test_plain_data_comes_back(value: Any, protocol: int) -> None:
    for load in (load_pickle, strict.load_pickle):
        loaded = load(pickle.dumps(value, protocol))
        assert loaded == value
        assert type(loaded) is type(value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_arrays_come_back(array: Any, protocol: int) -> None:
    loaded = load_pickle(pickle.dumps({"text": [array]}, protocol))["text"][0]
    assert type(loaded) is np.ndarray
    assert loaded.dtype == array.dtype
    assert loaded.flags.writeable
    np.testing.assert_array_equal(loaded, array)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "scalar", [np.float16(1.5), np.int64(-3), np.bool_(True), np.dtype(">f4"), torch.bfloat16]
)
def test_scalars_and_dtypes_come_back(scalar: Any, protocol: int) -> None:
    loaded = load_pickle(pickle.dumps(scalar, protocol))
    assert loaded == scalar
    assert type(loaded) is type(scalar)


@pytest.mark.parametrize("dump", [pickle.dumps, stable_pickle])
@pytest.mark.parametrize(
    "tensor", TENSORS, ids=lambda tensor: f"{tensor.dtype}{list(tensor.shape)}"
)
def test_tensors_come_back(tensor: torch.Tensor, dump: Any) -> None:
    loaded = load_pickle(dump({"prompt_embeds": tensor}))["prompt_embeds"]
    assert loaded.dtype == tensor.dtype
    assert torch.equal(loaded, tensor)
    assert torch.equal(strict.load_pickle(dump(tensor)), tensor)


def test_numpy_1_names_are_read() -> None:
    data = pickle.dumps(np.arange(3), protocol=2).replace(b"numpy._core", b"numpy.core")
    assert b"numpy.core.multiarray" in data
    np.testing.assert_array_equal(load_pickle(data), np.arange(3))


def test_an_array_that_occurs_twice_is_one_array() -> None:
    array = np.arange(3)
    first, (second,) = load_pickle(pickle.dumps([array, (array,)], protocol=4))
    assert first is second


def test_data_within_itself_comes_back() -> None:
    loop: list[Any] = [np.arange(3)]
    loop.append(loop)
    loaded = load_pickle(pickle.dumps(loop))
    assert loaded[1] is loaded
    np.testing.assert_array_equal(loaded[0], np.arange(3))


@pytest.mark.parametrize(
    "tensor", TENSORS, ids=lambda tensor: f"{tensor.dtype}{list(tensor.shape)}"
)
def test_pth_comes_back(tensor: torch.Tensor) -> None:
    assert torch.equal(load_pth(torch_bytes(tensor)), tensor)


def test_legacy_pth_comes_back() -> None:
    data = torch_bytes({"latent": TENSORS[0]}, legacy=True)
    assert torch.equal(load_pth(data)["latent"], TENSORS[0])


@pytest.mark.parametrize("loaders", [safe, strict], ids=["safe", "strict"])
def test_poison_does_not_run(loaders: Any, tmp_path: Path) -> None:
    load_pickle, load_pth = loaders.load_pickle, loaders.load_pth
    marker = tmp_path / "ran"
    poison = Poison(marker)
    with pytest.raises(UnsafePickleError, match=r"posix\.system"):
        load_pickle(pickle.dumps(poison))
    with pytest.raises(UnsafePickleError, match=r"posix\.system"):
        load_pickle(pickle.dumps({"prompt_embeds": [TENSORS[0], poison]}))
    with pytest.raises(UnsafePickleError, match=r"posix\.system"):
        load_pth(torch_bytes(poison))
    with pytest.raises(UnsafePickleError, match=r"posix\.system"):
        load_pickle(pickle.dumps(LoadFromBytes(torch_bytes({"t": poison}))))
    with pytest.raises(DecodeError):
        load_pickle(pickle.dumps(LoadFromBytes(pickle.dumps(poison))))
    assert not marker.exists()

    pickle.loads(pickle.dumps(LoadFromBytes(torch_bytes(poison))))  # the poison is real
    assert marker.exists()


REFUSED = {
    "eval": b"c__builtin__\neval\n(S'1'\ntR.",
    "getattr": b"cbuiltins\ngetattr\n.",
    "old instance opcode": b"(ios\nsystem\n.",
    "real loader": pickle.dumps(torch.load),
    "lazy torch module": b"ctorch\n_dynamo\n.",
    "attributes of a function": b"ctorch.storage\n_load_from_bytes\n}S'x'\nK\x01sb.",
    "object array": pickle.dumps(np.array([object(), None])),
    "structured array": pickle.dumps(np.zeros(2, dtype="f4,f4")),
    "crafted dtype": pickle.dumps(np.zeros(2, dtype="f4")).replace(b"f4", b"O8"),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_data_does_not_need_is_unsafe(data: bytes) -> None:
    for load in (load_pickle, strict.load_pickle):
        with pytest.raises(UnsafePickleError):
            load(data)


def test_the_refused_global_is_named() -> None:
    with pytest.raises(UnsafePickleError, match=r"pathlib\.PosixPath"):
        load_pickle(pickle.dumps(Path("x")))


def tensor_pickle(size: int, stride: int) -> bytes:
    """A pickle of one stored number that claims ``size`` numbers."""
    data = pickle.dumps(torch.zeros(1), protocol=2)
    return data.replace(b"K\x01\x85q", b"J" + size.to_bytes(4, "little") + b"\x85q", 1).replace(
        b"K\x01\x85q", b"K" + bytes([stride]) + b"\x85q", 1
    )


HUGE = {
    "array of a huge shape": pickle.dumps(np.zeros(1), protocol=4).replace(
        b"K\x01\x85", b"J\xff\xff\xff\x7f\x85", 2
    ),
    "array of a negative shape": pickle.dumps(np.zeros(1), protocol=5).replace(
        b"K\x01\x85", b"J\xfe\xff\xff\xff\x85"
    ),
    "bytearray of a size": b"cbuiltins\nbytearray\n(J\xff\xff\xff\x7ftR.",
    "bytes of a size": b"cbuiltins\nbytes\n(J\xff\xff\xff\x7ftR.",
    "bytearray that is not there": b"\x80\x05\x96\xff\xff\xff\xff\xff\x0f\x00\x00.",
    "long string": b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x0f.",
    "tensor beyond its storage": tensor_pickle(2**31 - 1, 1),
    "tensor of stride 0": tensor_pickle(2**31 - 1, 0),
    "expanded tensor": stable_pickle([torch.zeros(1).expand(2**40)]),
}


@pytest.mark.parametrize("data", HUGE.values(), ids=HUGE)
def test_a_size_that_the_bytes_do_not_fill_is_a_decode_error(data: bytes) -> None:
    for load in (load_pickle, strict.load_pickle):
        with pytest.raises(DecodeError):
            load(data)


def test_deep_nesting_is_a_decode_error() -> None:
    with pytest.raises(DecodeError):
        load_pickle(b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".")
    with pytest.raises(DecodeError):
        load_json(b"[" * 100_000)


@pytest.mark.parametrize("data", [b"", b"\x80", b"PK", b"garbage", b"\x1f\x8b\x00"])
def test_garbage_is_a_decode_error(data: bytes) -> None:
    for load in (load_pth, load_pickle, load_json):
        with pytest.raises(DecodeError):
            load(data)


def test_messages_do_not_advise_to_load_unsafely() -> None:
    with pytest.raises(DecodeError) as caught:
        load_pth(b"garbage")
    assert "weights_only" not in str(caught.value)


def test_json() -> None:
    assert load_json('{"caption": "\u00fc"}'.encode()) == {"caption": "\u00fc"}
    with pytest.raises(DecodeError, match="not JSON"):
        load_json(b'{"caption": "\xfc"}')


PICKLES = tuple(
    dump(value)
    for value in (
        TENSORS[0],
        ARRAYS[0],
        ARRAYS[1],
        {"a": [ARRAYS[2], TENSORS[1]], "b": {1, 2}, "c": "text"},
    )
    for dump in (pickle.dumps, stable_pickle, lambda value: pickle.dumps(value, protocol=2))
)
PTHS = (
    torch_bytes(TENSORS[0]),
    torch_bytes({"a": TENSORS[1]}),
    torch_bytes(TENSORS[0], legacy=True),
)
EDITS = st.lists(
    st.tuples(
        st.sampled_from(("set", "cut", "insert", "copy")),
        st.integers(0, 2**16 - 1),
        st.integers(0, 2**16 - 1),
    ),
    min_size=1,
    max_size=6,
)


def mutate(data: bytes, edits: list[tuple[str, int, int]]) -> bytes:
    for kind, first, second in edits:
        at = first % (len(data) + 1)
        if kind == "set":
            data = data[:at] + bytes([second % 256]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at] if second % 4 == 0 else data[:at] + data[at + second % 16 :]
        elif kind == "insert":
            data = data[:at] + bytes([second % 256, second // 256]) + data[at:]
        else:
            data = data[:at] + data[second % (len(data) + 1) :][:8] + data[at:]
    return data


@pytest.fixture(scope="module")
def less_memory() -> Iterator[None]:
    """512 MiB beyond what the process has: damaged bytes can name a memo slot as far out."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**29, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.usefixtures("less_memory")
@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(PICKLES), EDITS)
def test_mutated_pickles_give_the_same_value_to_both_or_a_decode_error(
    data: bytes, edits: list[tuple[str, int, int]]
) -> None:
    """The strict one may refuse more, as damage that a checksum shows, and never reads more."""
    data = mutate(data, edits)
    try:
        value = load_pickle(data)
    except DecodeError:
        with pytest.raises(DecodeError):
            strict.load_pickle(data)
        return
    with contextlib.suppress(DecodeError):
        assert_same(strict.load_pickle(data), value)


def assert_same(value: Any, other: Any) -> None:
    """The same types and bytes; what is no array or tensor is compared as it is written."""
    assert type(value) is type(other)
    if isinstance(value, torch.Tensor):
        assert (value.dtype, value.shape) == (other.dtype, other.shape)
        assert torch.equal(as_bytes(value), as_bytes(other))
    elif isinstance(value, np.ndarray):
        assert (value.dtype, value.shape) == (other.dtype, other.shape)
        assert value.tobytes() == other.tobytes()
    elif isinstance(value, dict):
        assert repr(list(value)) == repr(list(other))
        for key in value:
            assert_same(value[key], other[key])
    elif isinstance(value, list):
        assert len(value) == len(other)
        for item, twin in zip(value, other, strict=True):
            assert_same(item, twin)
    else:
        assert repr(value) == repr(other)


def as_bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().flatten().view(torch.uint8)


@pytest.mark.usefixtures("less_memory")
@settings(max_examples=500, deadline=None)
@given(st.sampled_from(PTHS), EDITS)
def test_mutated_pths_give_a_value_or_a_decode_error(
    data: bytes, edits: list[tuple[str, int, int]]
) -> None:
    with contextlib.suppress(DecodeError):
        load_pth(mutate(data, edits))


@pytest.mark.usefixtures("less_memory")
@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_give_a_value_or_a_decode_error(data: bytes) -> None:
    for load in (load_pickle, load_pth, load_json):
        with contextlib.suppress(DecodeError):
            load(data)


def npy(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.uint16).reshape(2, 3),
        np.asfortranarray(np.ones((2, 3), ">f4")),
        np.float32(3),
        np.ones(0),
    ],
)
def test_npy_files_are_read(array: Any) -> None:
    loaded = load_npy(npy(array))
    np.testing.assert_array_equal(loaded, array)
    assert loaded.dtype == np.asarray(array).dtype


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a file that np.save wrote"),
        (b"\x93NUMPY\x09\x00", "not a file that np.save wrote"),
        (npy(np.ones(4))[:-1], "takes 32 bytes, but 31 are stored|not a file that np.save wrote"),
        (npy(np.ones(4)) + b"x", "takes 32 bytes, but 33 are stored"),
        (npy(np.ones(4)).replace(b"(4,)", b"(1<<40,)"), "not a file that np.save wrote"),
        (
            npy(np.ones(4)).replace(b"(4,), }      ", b"(99999999999,)}"),
            "not a file that np.save wrote",
        ),
    ],
)
def test_damaged_npy_files_are_decode_errors(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        load_npy(data)


def test_npy_files_of_objects_are_refused() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UnsafePickleError, match="dtype object"):
        load_npy(buffer.getvalue())
