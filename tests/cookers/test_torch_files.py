from __future__ import annotations

import io
import random
import struct
import zipfile
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch

from cookers import DecodeError, load_pickle, load_pth, safe
from cookers.torch_files import TorchFiles
from tests.cookers.pickles import stable_pickle
from tests.cookers.test_safe_mutated import assert_same, less_memory  # noqa: F401
from tests.datasets import torch_bytes

# torch.load warns of each protocol that is not its own
pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")

NUM_DAMAGED = {"pth": 8_000, "pickle": 2_000}

Load = Callable[[Any], Any]


class Counting:
    """The loader that the forms are learned from, and how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, data: Any) -> Any:
        self.calls += 1
        return safe._load_pth(data)


def latent(serial: int, dtype: torch.dtype = torch.bfloat16, *shape: int) -> torch.Tensor:
    numbers = torch.randn(shape or (4, 1, 6, 4), generator=torch.Generator().manual_seed(serial))
    return numbers.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_third_file_of_a_form_is_read_without_torch(dtype: torch.dtype) -> None:
    load = Counting()
    files = TorchFiles(load)
    for serial in range(4):
        tensor = latent(serial, dtype)
        assert_same(files.load(torch_bytes(tensor)), tensor)
    assert load.calls == 3  # the first two files, and the proof of their form


def test_files_of_one_length_and_several_shapes() -> None:
    load = Counting()
    files = TorchFiles(load)
    for serial in range(6):
        tensor = latent(
            serial, torch.float16, *((4, 1, 6, 4), (4, 1, 4, 6), (6, 1, 4, 4))[serial % 3]
        )
        assert_same(files.load(torch_bytes(tensor)), tensor)
    assert load.calls == 7  # the first of all, each shape, and three proofs


@pytest.mark.parametrize(
    "value",
    [
        latent(1)[:2],  # with more stored than it has
        latent(1).transpose(2, 3),
        latent(1).double(),
        latent(1).requires_grad_(),
        {"latent": latent(1)},
        torch.zeros(0, 3),
        torch.tensor(3.0),
    ],
    ids=["view", "strides", "dtype", "gradient", "dict", "empty", "scalar"],
)
def test_everything_else_is_left_to_torch(value: Any) -> None:
    files = TorchFiles(safe._load_pth)
    for _ in range(3):
        assert_same(files.load(torch_bytes(value)), value)


def test_forms_are_not_collected_without_end() -> None:
    load = Counting()
    files = TorchFiles(load, most=2)
    for _ in range(3):
        for width in (4, 40, 400):
            files.load(torch_bytes(latent(width, torch.float32, 2, 2, width)))
    assert load.calls == 2 * 3 + 3

    load = Counting()
    files = TorchFiles(load, most_alike=1)
    for _ in range(3):
        for shape in ((4, 6), (6, 4)):
            files.load(torch_bytes(latent(1, torch.float32, *shape)))
    assert load.calls == 3 + 2


def test_a_torch_that_looks_at_the_checksum_goes_on_doing_so() -> None:
    def checking(data: Any) -> Any:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if archive.testzip() is not None:
                raise DecodeError("damaged")
        return safe._load_pth(data)

    files = TorchFiles(checking)
    first, second = torch_bytes(latent(1)), torch_bytes(latent(2))
    damaged = flipped(second, second.index(latent(2).view(torch.uint8).numpy().tobytes()))
    files.load(first)
    files.load(second)
    with pytest.raises(DecodeError, match="damaged"):
        files.load(damaged)


def flipped(data: bytes, at: int, bit: int = 1) -> bytes:
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Bits flipped anywhere, cut at either end or within, or longer there."""
    kind = draw.choice(("flip", "flip", "flip", "cut", "extend", "swap"))
    at = draw.randrange(len(data))
    if kind == "flip":
        for _ in range(draw.choice((1, 1, 1, 2, 8))):
            data = flipped(data, draw.randrange(len(data)), 1 << draw.randrange(8))
        return data
    length = draw.choice((1, 2, 4, 16, 64, len(data) // 2))
    if kind == "cut":
        return draw.choice((data[:at], data[at:], data[:at] + data[at + length :]))
    if kind == "extend":
        return data[:at] + draw.randbytes(length) + data[at:]
    return data[:at] + draw.randbytes(min(length, len(data) - at)) + data[at + length :]


def outcome(load: Load, data: bytes) -> Any:
    try:
        return load(data)
    except DecodeError as error:
        return (type(error), str(error))


@pytest.mark.usefixtures("less_memory")
@pytest.mark.parametrize("part", ["pth", "pickle"])
def test_damaged_parts_are_read_or_refused_as_torch_does(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not taken as it lies goes to torch, which of some damaged files reads memory that it
    never wrote: twice the same file, and two values. What is taken is what torch reads.
    """
    load, dump = {"pth": (load_pth, torch_bytes), "pickle": (load_pickle, stable_pickle)}[part]
    torch_load = Counting()
    monkeypatch.setattr(safe, "_FILES", TorchFiles(torch_load))
    draw = random.Random(part)
    dtypes = torch.float32, torch.bfloat16
    whole = [dump(latent(serial, dtype, 4, 4, 8, 12)) for serial, dtype in enumerate(dtypes)]
    for data in whole * 2:
        load(data)  # now its form is known
    found = Counter[str]()
    for _ in range(NUM_DAMAGED[part]):
        data = damaged(draw.choice(whole), draw)
        calls = torch_load.calls
        given = outcome(load, data)
        if torch_load.calls > calls:
            found["left to torch"] += 1
        else:
            with monkeypatch.context() as slow:
                slow.setattr(safe, "_FILES", TorchFiles(torch_load, most=0))
                assert_same(given, outcome(load, data))
            found["taken" if isinstance(given, torch.Tensor) else "no pickle"] += 1
    assert min(found["taken"], found["left to torch"]) > NUM_DAMAGED[part] // 10, found


def test_an_id_that_is_no_number_is_left_to_torch() -> None:
    """torch.load makes a string of it, which not all bytes are."""
    data = torch_bytes(latent(2))
    for serial in range(2):
        load_pth(torch_bytes(latent(serial)))
    at = data.index(b"serialization_idFB") + len(b"serialization_idFB")
    at += 2 + struct.unpack_from("<H", data, at)[0]
    assert data[at : at + 40].isdigit()
    for changed in (b"\xff", b"a", b" "):
        other = data[:at] + changed + data[at + 1 :]
        assert_same(outcome(load_pth, other), outcome(safe._load_pth, other))
