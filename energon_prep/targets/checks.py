"""The checks that contracts share; each raises ContractError naming the part and its value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from energon_prep.samples import TextEmbedding
from energon_prep.targets.base import ContractError

MAX_LATENT = 1e3  #: the trainers skip samples with a larger magnitude, without a word


def require_parts(parts: Mapping[str, Any], names: Iterable[str]) -> None:
    missing = [name for name in names if name not in parts]
    if missing:
        raise ContractError(
            f"part {missing[0]!r} is missing (there are: {', '.join(sorted(parts)) or 'none'})"
        )


def require_keys(part: str, info: Any, keys: Iterable[str]) -> None:
    if not isinstance(info, dict):
        raise ContractError(f"{part} is a {type(info).__name__}, not an object")
    missing = [key for key in keys if key not in info]
    if missing:
        raise ContractError(f"{part} lacks the key {missing[0]!r}, which the trainer reads")


def require_pooled(texts: Mapping[str, TextEmbedding], name: str) -> torch.Tensor:
    """The pooled embedding [D] of one text encoder."""
    pooled = texts[name].pooled
    if pooled is None:
        raise ContractError(
            f"text encoder {name!r} gives no pooled embedding: the target needs a CLIP there"
        )
    return pooled


def require_latent(
    part: str, latent: Any, *, ndim: int, patch: int, channels: int | None = None
) -> None:
    """A finite float tensor [C, ..., H, W] of ``ndim`` dimensions, H and W multiples of
    ``patch``.
    """
    if not isinstance(latent, torch.Tensor):
        raise ContractError(f"{part} is a {type(latent).__name__}, not a torch.Tensor")
    if latent.ndim != ndim:
        raise ContractError(
            f"{part} has {latent.ndim} dimensions, the trainer reads {ndim} (its shape is "
            f"{list(latent.shape)})"
        )
    if channels is not None and latent.shape[0] != channels:
        raise ContractError(
            f"{part} has {latent.shape[0]} channels, the trainer reads {channels} (its shape is "
            f"{list(latent.shape)})"
        )
    if latent.shape[-1] % patch or latent.shape[-2] % patch:
        raise ContractError(
            f"{part} has shape {list(latent.shape)}: height and width must be multiples of {patch}"
        )
    if not latent.is_floating_point():
        raise ContractError(f"{part} is {latent.dtype}, not a float dtype")
    stored = latent.untyped_storage().nbytes()
    if stored != latent.numel() * latent.element_size():
        raise ContractError(
            f"{part} is a view: {stored} bytes are stored for {latent.numel()} numbers"
        )
    least, greatest = _extremes(part, latent)
    if max(-least, greatest) > MAX_LATENT:
        raise ContractError(f"{part} exceeds {MAX_LATENT:g} in magnitude")


def require_text(
    part: str, text: Any, *, max_tokens: int, width: int | None = None, tensor: bool = False
) -> None:
    """Finite embeddings [S, D] with 1 <= S <= ``max_tokens``, not all zero; an array will do unless
    ``tensor``.
    """
    if tensor and not isinstance(text, torch.Tensor):
        raise ContractError(f"{part} is a {type(text).__name__}, not a torch.Tensor")
    if not isinstance(text, (torch.Tensor, np.ndarray)):
        raise ContractError(f"{part} is a {type(text).__name__}, not embeddings [S, D]")
    shape = list(text.shape)
    if len(shape) != 2 or not shape[1]:
        raise ContractError(f"{part} has shape {shape}, not [S, D]")
    if width is not None and shape[1] != width:
        raise ContractError(f"{part} is {shape[1]} wide, the trainer reads {width}")
    if not 1 <= shape[0] <= max_tokens:
        raise ContractError(f"{part} has {shape[0]} tokens, not 1 to {max_tokens}")
    values = (
        torch.from_numpy(text) if isinstance(text, np.ndarray) and text.dtype.kind == "f" else text
    )
    _require_values(part, values)


def require_vector(part: str, vector: Any, *, width: int | None) -> None:
    """A finite tensor [D], not all zero."""
    if not isinstance(vector, torch.Tensor):
        raise ContractError(f"{part} is a {type(vector).__name__}, not a torch.Tensor")
    if vector.ndim != 1:
        raise ContractError(f"{part} has shape {list(vector.shape)}, not [{width or 'D'}]")
    if width is not None and len(vector) != width:
        raise ContractError(f"{part} is {len(vector)} wide, the trainer reads {width}")
    _require_values(part, vector)


def _require_values(part: str, values: Any) -> None:
    if not isinstance(values, torch.Tensor) or not values.is_floating_point():
        raise ContractError(
            f"{part} is {getattr(values, 'dtype', type(values))}, not a float dtype"
        )
    if _extremes(part, values) == (0, 0):
        raise ContractError(f"{part} is all zero")


def _extremes(part: str, values: torch.Tensor) -> tuple[float, float]:
    """Least and greatest value, which are finite. One pass: ``isfinite`` takes 40 times as long in
    bfloat16.
    """
    if not values.numel():
        raise ContractError(f"{part} is empty")
    # NaN anywhere makes both NaN
    least, greatest = (float(value) for value in torch.aminmax(values))
    if not math.isfinite(least) or not math.isfinite(greatest):
        raise ContractError(f"{part} has NaN or Inf")
    return least, greatest
