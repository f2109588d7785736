"""Station 9, cookers: the parts of a crude sample -> LatentSample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from megatron.energon import Cooker, basic_sample_keys, stateless

from cookers.safe import DecodeError, load_json, load_pickle, load_pth
from cookers.samples import LatentSample

T = TypeVar("T")


@stateless  # type: ignore[untyped-decorator]  # without it Energon yields no batches, and no error
def cook_latents(sample: dict[str, Any]) -> LatentSample:
    """Make a LatentSample of the parts ``pth`` (latent), ``pickle`` (text) and ``json``, or ``.pth`` and so on.

    A part is raw bytes, which are decoded safely, or what a decoder made of them. Raises ValueError (DecodeError if
    the bytes are at fault) naming the sample's key, the part and what it is.
    """
    text, pooled = _part(sample, "pickle", load_pickle, as_text)
    return LatentSample(
        **basic_sample_keys(sample),
        latent=_part(sample, "pth", load_pth, as_latent),
        text=text,
        pooled=pooled,
        metadata=_part(sample, "json", load_json, _as_object),
    )


#: For ``TaskEncoder.cookers``: cooks every crude sample. For some: ``Cooker(cook_latents, has_subflavors={...})``.
latent_cooker = Cooker(cook_latents)


def as_latent(value: Any) -> torch.Tensor:
    """[C, T, H, W], [1, C, T, H, W] or [C, H, W], a tensor or an array -> [C, T, H, W]. Raises ValueError."""
    latent = _float_tensor(value, "a latent")
    if latent.ndim == 5 and latent.shape[0] == 1:
        latent = latent[0]
    elif latent.ndim == 3:
        latent = latent.unsqueeze(1)
    if latent.ndim != 4 or not latent.numel():
        raise ValueError(f"a latent of shape {list(latent.shape)}, not [C, T, H, W], [1, C, T, H, W] or [C, H, W]")
    return latent


def as_text(value: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Text embeddings as trainers store them -> text [S, D] and, where there is one, pooled [D'].

    ``value`` is a tensor or an array [S, D] or [1, S, D], a list whose first item is that, or a dict with
    ``prompt_embeds`` and, where there is one, ``pooled_prompt_embeds`` [D'] or [1, D']. Raises ValueError.
    """
    pooled = None
    if isinstance(value, dict):
        if "prompt_embeds" not in value:
            raise ValueError(f"a dict with the keys {sorted(map(str, value))}, without prompt_embeds")
        if value.get("pooled_prompt_embeds") is not None:
            pooled = _unbatched(_float_tensor(value["pooled_prompt_embeds"], "pooled_prompt_embeds"), 1, "[D]")
        value = value["prompt_embeds"]
    elif isinstance(value, (list, tuple)) and value:
        value = value[0]
    return _unbatched(_float_tensor(value, "text"), 2, "[S, D]"), pooled


def _part(sample: dict[str, Any], name: str, load: Callable[[bytes], Any], convert: Callable[[Any], T]) -> T:
    key = sample["__key__"]
    stored = name if name in sample else "." + name
    if stored not in sample:
        parts = ", ".join(part for part in sample if not part.startswith("__"))
        raise ValueError(f"sample {key}: no part {name!r} or {'.' + name!r} (there are: {parts or 'none'})")
    value = sample[stored]
    try:
        return convert(load(value) if isinstance(value, bytes) else value)
    except DecodeError as error:
        raise type(error)(f"sample {key}, part {stored!r}: {error}") from error
    except ValueError as error:
        raise ValueError(f"sample {key}, part {stored!r}: {error}") from error


def _as_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"JSON of a {type(value).__name__}, not an object")
    return value


def _float_tensor(value: Any, what: str) -> torch.Tensor:
    if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.dtype.itemsize <= 8:
        value = torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))  # a copy: torch wants it writable
    if not isinstance(value, torch.Tensor):
        found = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
        raise ValueError(f"{what} that is {found}, not a tensor or an array of floats")
    if not value.is_floating_point():
        raise ValueError(f"{what} of {value.dtype}, not of floats")
    return value


def _unbatched(tensor: torch.Tensor, ndim: int, expected: str) -> torch.Tensor:
    if tensor.ndim == ndim + 1 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim != ndim or not tensor.numel():
        raise ValueError(f"text embeddings of shape {list(tensor.shape)}, not {expected}")
    return tensor
