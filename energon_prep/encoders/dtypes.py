"""The recipe's names of number formats as torch knows them."""

from __future__ import annotations

import torch

from energon_prep.recipes.model import DType

TORCH_DTYPES: dict[DType, torch.dtype] = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp32": torch.float32,
}


def compute_dtype(name: DType, device: torch.device) -> torch.dtype:
    """What a model computes in on ``device``: CPUs take fp32 for fp16, in which their convolutions
    are 20 to 100 times slower.
    """
    return torch.float32 if name == "fp16" and device.type == "cpu" else TORCH_DTYPES[name]
