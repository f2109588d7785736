from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from energon_prep.targets import serialize as serialize_module
from energon_prep.targets.serialize import (
    TorchFiles,
    dumps_json,
    dumps_pickle,
    dumps_pth,
    serialize,
)

DIGEST = """
import hashlib, torch
from energon_prep.targets.serialize import dumps_pickle, dumps_pth
t = torch.arange(60, dtype=torch.float32).reshape(3, 20).bfloat16()
print(hashlib.sha256(dumps_pickle({"prompt_embeds": t}) + dumps_pth(t)).hexdigest())
"""


def test_pth_of_a_slice_holds_the_slice_alone() -> None:
    batch = torch.randn(64, 16, 1, 32, 32)
    data = dumps_pth(batch[3])
    assert len(data) < 16 * 32 * 32 * 4 + 4096
    assert torch.equal(torch.load(io.BytesIO(data), weights_only=True), batch[3])


def test_pickles_are_stable_and_plain_pickle_reads_them() -> None:
    tensor = torch.randn(5, 8).bfloat16()
    value = {"prompt_embeds": tensor, "pooled": np.arange(4, dtype=np.float16)}
    first = dumps_pickle(value)
    assert first == dumps_pickle(
        {"prompt_embeds": tensor.clone(), "pooled": value["pooled"].copy()}
    )
    back = pickle.loads(first)
    assert torch.equal(back["prompt_embeds"], tensor)
    assert back["prompt_embeds"].dtype == torch.bfloat16
    assert np.array_equal(back["pooled"], value["pooled"])


def test_another_process_writes_the_same_bytes() -> None:
    runs = {
        subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, check=True).stdout
        for _ in range(2)
    }
    assert len(runs) == 1


def test_json_is_strict_ascii() -> None:
    assert json.loads(dumps_json({"caption": "caf\u00e9 \ud83d"})) == {
        "caption": "caf\u00e9 \ud83d"
    }
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps_json({"score": float("nan")})


def test_parts_are_serialised_by_suffix() -> None:
    tensor = torch.ones(2)
    parts = serialize({".json": {}, "a.pth": tensor, "pickle": tensor, "raw.jpg": b"\xff\xd8"})
    assert parts[".json"] == b"{}"
    assert parts["a.pth"] == dumps_pth(tensor)
    assert parts["pickle"] == dumps_pickle(tensor)
    assert parts["raw.jpg"] == b"\xff\xd8"


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
    monkeypatch.setattr(serialize_module, "_saved", lambda tensor: b"torch.save was called")
    assert files.dump(tensors[2]) == expected[2]


def test_equal_numbers_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    files = TorchFiles()
    files.dump(torch.ones(64))
    files.dump(torch.ones(64))
    monkeypatch.setattr(serialize_module, "_saved", lambda tensor: b"torch.save was called")
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
    monkeypatch.setattr(serialize_module, "_combine", lambda seed, value: seed ^ value)
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
