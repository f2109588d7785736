"""The training side of the target: a cooker and a task encoder of Energon, which need nothing of
energon_prep.
"""

from __future__ import annotations

import io
import json
from typing import Any

import torch
from megatron.energon import (
    Cooker,
    DefaultTaskEncoder,
    Sample,
    basic_sample_keys,
    edataclass,
    stateless,
)


@edataclass
class ShapeSample(Sample):
    latent: torch.Tensor  #: [C, H, W]
    text: torch.Tensor  #: [S, D]
    caption: str


@stateless
def cook(sample: dict[str, Any]) -> ShapeSample:
    return ShapeSample(
        **basic_sample_keys(sample),
        latent=_tensor(sample["latent.pth"]),
        text=_tensor(sample["text.pth"]),
        caption=json.loads(sample["json"])["caption"],
    )


def _tensor(data: bytes) -> torch.Tensor:
    return torch.load(io.BytesIO(data), weights_only=True)


class ShapesTaskEncoder(DefaultTaskEncoder):
    decoder = None  # the cooker gets bytes, and nothing is unpickled but tensors
    cookers = [Cooker(cook, has_subflavors={"target": "own_parts.trainer:ShapesTrainer"})]
