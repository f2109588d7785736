from __future__ import annotations

import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from energon_prep.targets import torch_file
from energon_prep.targets.torch_file import TorchFiles

FLOATS = [torch.float32, torch.bfloat16, torch.float16]
SHAPES = st.lists(st.integers(1, 40), min_size=1, max_size=5)


def saved(tensor: torch.Tensor) -> bytes:
    buffer = io.BytesIO()
    torch.save(tensor, buffer)
    return buffer.getvalue()


@given(
    st.sampled_from([*FLOATS, torch.int64, torch.bool, torch.complex64]),
    SHAPES,
    st.integers(0, 2**32),
)
def test_every_tensor_of_a_shape_is_what_torch_save_writes(
    dtype: torch.dtype, shape: list[int], seed: int
) -> None:
    files = TorchFiles()
    generator = torch.Generator().manual_seed(seed)
    for _ in range(4):  # the first becomes the form, the second proves it
        tensor = (torch.randn(shape[:3], generator=generator) * 100).to(dtype)
        assert files.dump(tensor) == saved(tensor)


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_third_of_a_shape_is_filled_in(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = TorchFiles()
    tensors = [torch.randn(16, 1, 8, 8).to(dtype) for _ in range(3)]
    expected = [saved(tensor) for tensor in tensors]
    assert [files.dump(tensor) for tensor in tensors[:2]] == expected[:2]
    monkeypatch.setattr(torch_file, "_saved", lambda tensor: b"torch.save was called")
    assert files.dump(tensors[2]) == expected[2]


def test_equal_numbers_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    files = TorchFiles()
    files.dump(torch.ones(64))
    files.dump(torch.ones(64))
    monkeypatch.setattr(torch_file, "_saved", lambda tensor: b"torch.save was called")
    assert files.dump(torch.ones(64)) == b"torch.save was called"


def test_strides_are_told_apart() -> None:
    files = TorchFiles()
    base = torch.randn(4, 1, 64)
    for stride in [(64, 64, 1), (64, 7, 1), (64, 64, 1), (64, 7, 1), (64, 64, 1), (64, 7, 1)]:
        tensor = torch.randn(base.shape).as_strided(base.shape, stride)
        assert files.dump(tensor) == saved(tensor)


def test_a_torch_that_combines_otherwise_writes_its_files_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch_file, "_combine", lambda seed, value: seed ^ value)
    files = TorchFiles()
    for _ in range(4):
        tensor = torch.randn(100)
        assert files.dump(tensor) == saved(tensor)


def test_forms_do_not_grow_without_end() -> None:
    files = TorchFiles(most=3)
    for length in [20, 30, 40, 50, 60] * 3:
        tensor = torch.randn(length)
        assert files.dump(tensor) == saved(tensor)
    assert len(files._forms) == 3
