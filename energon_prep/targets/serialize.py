"""Part values -> bytes; equal values give equal bytes, on every call and every machine."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from energon_prep.targets.torch_file import TorchFiles


def serialize(parts: Mapping[str, Any]) -> dict[str, bytes]:
    """Bytes of each part, by the part's suffix: ``pth``, ``pickle``, ``json``. Bytes stay as they
    are.
    """
    return {name: _dump(name, value) for name, value in parts.items()}


def dumps_pth(tensor: torch.Tensor) -> bytes:
    """What ``torch.load`` reads. A view is cloned first: torch.save of ``batch[i]`` would write the
    whole batch.
    """
    tensor = tensor.detach().cpu().contiguous()
    if tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size():
        tensor = tensor.clone()
    return _FILES.dump(tensor)


def dumps_pickle(value: Any) -> bytes:
    """What ``pickle.loads`` reads. ``pickle.dumps`` of a tensor differs from call to call, this
    does not.
    """
    pieces = _Pieces()
    _StablePickler(pieces, protocol=4).dump(value)
    return b"".join(pieces.written)


def dumps_json(value: Any) -> bytes:
    """Strict JSON in ASCII: NaN, which other languages' parsers refuse, is an error here."""
    return json.dumps(value, allow_nan=False).encode("ascii")


def dumps_npy_of_one(tensor: torch.Tensor) -> bytes:
    """What ``numpy.load`` reads of a batch of one: [1, ...] in float32, which holds bfloat16
    exactly.
    """
    buffer = io.BytesIO()
    np.save(
        buffer, tensor.detach().to("cpu", torch.float32).unsqueeze(0).numpy(), allow_pickle=False
    )
    return buffer.getvalue()


_FILES = TorchFiles()
_DUMPERS = {"pth": dumps_pth, "pickle": dumps_pickle, "json": dumps_json}


def _dump(name: str, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return _DUMPERS[name.rpartition(".")[2]](value)


class _Pieces:
    """A file of what is written to it: a pickler hands large bytes over as they are, to be copied
    once at the end.
    """

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)


class _StablePickler(pickle.Pickler):
    """Stores a tensor as its torch.save bytes, which plain ``pickle.loads`` reads back."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, torch.Tensor):
            return torch.storage._load_from_bytes, (dumps_pth(obj),)
        return NotImplemented
