"""Random values for the weights of tiny and random models, the same on every machine."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

_SEED = 20240501


def fill(model: Any, *, d_kv: int = 1, embedding: float = 1.0) -> Any:
    """Give ``model``, which is on the meta device, its values.

    Uniform draws, because torch's normal ones differ in the last bits from one CPU to another. The
    widths are those of the models' own initialisation: activations of about 1 everywhere, attention
    scores too. ``d_kv``: T5's, which does not divide its attention scores by sqrt(d_kv).
    ``embedding``: width of the token embeddings' draws.
    """
    nn.Module.to(model, torch.bfloat16)  # diffusers' own warns
    model = model.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(_SEED)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 or name.endswith(".gamma"):
                # [C, 1, 1, 1] of Wan's normalisations
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
                continue
            draw = torch.rand(parameter.shape, generator=generator).sub_(0.5)
            parameter.copy_(draw.mul_(math.sqrt(12) * _std(name, parameter, d_kv, embedding)))
        for name, buffer in model.named_buffers():
            _fill_buffer(name, buffer, generator)
    return model


def _fill_buffer(name: str, buffer: torch.Tensor, generator: torch.Generator) -> None:
    """Statistics of latents (LTX, FLUX.2) that change every channel; buffers that no checkpoint
    holds do not matter.
    """
    if name.endswith("mean"):
        buffer.copy_(torch.rand(buffer.shape, generator=generator).sub_(0.5))
    elif name.endswith(("std", "var")):
        buffer.copy_(torch.rand(buffer.shape, generator=generator).add_(0.5))
    else:
        buffer.zero_()


def _std(name: str, parameter: nn.Parameter, d_kv: int, embedding: float) -> float:
    if "shared" in name or "embed_tokens" in name:
        return embedding
    if "relative_attention_bias" in name:
        return 1.0
    if "_embedding" in name:  # CLIP's
        return 0.02
    fan_in = math.prod(parameter.shape[1:])
    if name.endswith(".q.weight"):
        fan_in *= d_kv
    return 1 / math.sqrt(fan_in)
