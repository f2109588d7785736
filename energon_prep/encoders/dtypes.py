"""Station 3, encoders: the recipe's names of number formats as torch knows them."""

from __future__ import annotations

import torch

from energon_prep.recipes.model import DType

TORCH_DTYPES: dict[DType, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
