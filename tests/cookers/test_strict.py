from __future__ import annotations

import io
import pickle
import zipfile
from typing import Any

import pytest
import torch

from cookers import DecodeError, strict
from tests.datasets import torch_bytes

# torch.load warns of each protocol that is not its own
pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")


@pytest.mark.parametrize("name", [b"r\xff\xff\xff\xff", b"p4294967295\n"])
def test_a_pickle_cannot_ask_for_memo_slots(name: bytes) -> None:
    with pytest.raises(DecodeError, match="memo slot 4294967295"):
        strict.load_pickle(b"\x80\x04N" + name + b".")


def test_a_tensor_within_a_pickle_is_loaded_strictly_too() -> None:
    bomb = rezipped(torch_bytes(torch.zeros(2**20)), zipfile.ZIP_DEFLATED)
    data = b"\x80\x04ctorch.storage\n_load_from_bytes\n" + pickle.dumps(bomb, 4)[2:-1] + b"\x85R."
    with pytest.raises(DecodeError, match="unpack to"):
        strict.load_pickle(data)


def rezipped(data: bytes, compression: int, old: bytes = b"", new: bytes = b"") -> bytes:
    """The same records, compressed so, with ``old`` replaced by ``new`` in the pickle."""
    target = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as source,
        zipfile.ZipFile(target, "w", compression) as archive,
    ):
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.pkl"):
                assert old in content
                content = content.replace(old, new, 1)
            archive.writestr(name, content)
    return target.getvalue()


def test_a_pth_cannot_ask_for_memory() -> None:
    data = torch_bytes(torch.zeros(3))
    assert torch.equal(strict.load_pth(rezipped(data, zipfile.ZIP_STORED)), torch.zeros(3))
    with pytest.raises(DecodeError):
        strict.load_pth(rezipped(data, zipfile.ZIP_STORED, b"K\x03\x85", b"J\x00\x00\x01\x00\x85"))
    with pytest.raises(DecodeError):
        strict.load_pth(
            torch_bytes(torch.zeros(3), legacy=True).replace(b"K\x03\x85", b"J\x00\x00\x01\x00\x85")
        )
    with pytest.raises(DecodeError, match="4 are stored"):
        strict.load_pth(torch_bytes(torch.zeros(1).expand(2**40)))
    with pytest.raises(DecodeError, match="unpack to"):
        strict.load_pth(rezipped(torch_bytes(torch.zeros(2**20)), zipfile.ZIP_DEFLATED))


def test_tuples_of_the_same_tuples_end_at_once() -> None:
    value: Any = "lol"
    for _ in range(40):
        value = (value,) * 3
    for bomb in (
        pickle.dumps(value),
        pickle.dumps(value)[:-1] + b"\x91.",
        b"\x80\x04(" + pickle.dumps(value)[2:-1] + b"\x91.",
    ):
        with pytest.raises(DecodeError, match="tuples within tuples"):
            strict.load_pickle(bomb)


def test_a_torch_file_whose_tuples_multiply_ends_at_once() -> None:
    value: Any = "lol"
    for _ in range(40):
        value = (value,) * 3
    bomb = b"\x80\x02}" + pickle.dumps(value, 2)[2:-1] + b"K\x01s."
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", bomb)
        archive.writestr("archive/version", "3\n")
    legacy = torch_bytes(torch.zeros(1), legacy=True)
    first = b"".join(
        pickle.dumps(number, 2)
        for number in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    )
    for data in (buffer.getvalue(), first + bomb + legacy):
        with pytest.raises(DecodeError, match="tuples within tuples"):
            strict.load_pth(data)
