"""Values that datasets store, and pickles of them that Python's own pickler does not write."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import torch

from tests.datasets import torch_bytes


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
