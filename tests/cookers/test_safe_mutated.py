from __future__ import annotations

import contextlib
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

from cookers import DecodeError, load_json, load_pickle, load_pth, strict
from tests.cookers.pickles import ARRAYS, TENSORS, stable_pickle
from tests.datasets import torch_bytes

# torch.load warns of each protocol that is not its own
pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")

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
