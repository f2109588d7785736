from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from cookers import DecodeError, UnsafePickleError, load_npy


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
