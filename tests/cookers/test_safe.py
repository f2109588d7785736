from __future__ import annotations

import collections
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cookers import DecodeError, UnsafePickleError, load_json, load_pickle, load_pth, safe, strict
from tests.cookers.pickles import ARRAYS, TENSORS, LoadFromBytes, stable_pickle
from tests.datasets import Poison, torch_bytes

# torch.load warns of each protocol that is not its own
pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")

PROTOCOLS = (2, 3, 4, 5)

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
