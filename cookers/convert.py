"""What a part holds -> the tensors that every task encoder starts from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from cookers.samples import TextEmbeddings

#: Bridge's own task encoder reads either name.
_HIDDEN_KEYS = ("prompt_embeds", "t5_embeds")
_POOLED_KEYS = ("pooled_prompt_embeds", "clip_embeds")


def float_tensor(value: Any, what: str) -> torch.Tensor:
    """A tensor or an array of floats -> a tensor. Raises ValueError naming ``what`` it should have
    been.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.dtype.itemsize <= 8:
        # a copy: torch wants it writable
        value = torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))
    if not isinstance(value, torch.Tensor):
        found = (
            f"an array of {value.dtype}"
            if isinstance(value, np.ndarray)
            else f"a {type(value).__name__}"
        )
        raise ValueError(f"{what} that is {found}, not a tensor or an array of floats")
    if not value.is_floating_point():
        raise ValueError(f"{what} of {value.dtype}, not of floats")
    return value


def as_latent(value: Any, ndims: tuple[int, ...] = (3, 4, 5)) -> torch.Tensor:
    """[C, T, H, W], [1, C, T, H, W] or [C, H, W], a tensor or an array -> [C, T, H, W].

    ``ndims``: the numbers of dimensions that are taken. Raises ValueError.
    """
    latent = float_tensor(value, "a latent")
    if (
        latent.ndim not in ndims
        or not latent.numel()
        or (latent.ndim == 5 and latent.shape[0] != 1)
    ):
        shapes = {3: "[C, H, W]", 4: "[C, T, H, W]", 5: "[1, C, T, H, W]"}
        raise ValueError(
            f"a latent of shape {list(latent.shape)}, not {' or '.join(shapes[n] for n in ndims)}"
        )
    if latent.ndim == 5:
        return latent[0]
    return latent.unsqueeze(1) if latent.ndim == 3 else latent


def split_moments(
    latent: torch.Tensor, metadata: Mapping[str, Any]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A latent [C, T, H, W] -> itself and None; moments [2 C, T, H, W] -> mean and log-variance,
    [C, T, H, W] each.

    The JSON tells moments: its ``posterior`` is "moments", or its ``latent_shape`` has half as many
    channels.
    """
    if metadata.get("posterior") != "moments" and metadata.get(
        "latent_shape"
    ) not in _shapes_of_half(latent):
        return latent, None
    if latent.shape[0] % 2:
        raise ValueError(
            f"moments of {latent.shape[0]} channels, which is no mean and log-variance"
        )
    mean, logvar = latent.chunk(2)
    return mean, logvar


def normalize(
    latent: torch.Tensor, logvar: torch.Tensor | None, *, shift: float, scale: float
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """(z - shift) * scale of a latent; of moments, so that a draw z is normalised: log-variance + 2
    log(scale).
    """
    if (shift, scale) == (0.0, 1.0):
        return latent, logvar
    normalized = ((latent.float() - shift) * scale).to(latent.dtype)
    return normalized, None if logvar is None else (logvar.float() + 2 * math.log(scale)).to(
        logvar.dtype
    )


def as_text(
    value: Any,
    *,
    allow_batched: bool = True,
    trim: bool = False,
    hidden_from: str | None = None,
    pooled_from: str | None = None,
) -> TextEmbeddings:
    """Text embeddings as trainers store them. Raises ValueError.

    ``value`` is a tensor or an array [S, D] (or, with ``allow_batched``, [1, S, D]), a list whose
    first item is that, or a dict: with ``prompt_embeds`` (or ``t5_embeds``) and, where there is
    one, ``pooled_prompt_embeds`` (or ``clip_embeds``) [D'] or [1, D']; or by text encoder,
    ``{"t5": {"hidden": [S, D]}, "clip": {"pooled": [D']}}``. Of several text encoders
    ``hidden_from`` and ``pooled_from`` name those that are taken; without a name it is the first
    that has one. ``trim`` cuts zero rows at the end, which are padding.
    """
    encoders: dict[str, dict[str, torch.Tensor]] = {}
    pooled = None
    if (
        isinstance(value, dict)
        and value
        and all(isinstance(stored, dict) for stored in value.values())
    ):
        encoders = {
            str(name): _one_encoder(str(name), stored, trim=trim) for name, stored in value.items()
        }
        hidden = _choose(encoders, "hidden", hidden_from)
        if hidden is None:
            raise ValueError(
                f"the text encoders {', '.join(encoders)} have no hidden states, only pooled "
                "embeddings"
            )
        return TextEmbeddings(
            text=hidden, pooled=_choose(encoders, "pooled", pooled_from), encoders=encoders
        )
    if isinstance(value, dict):
        stored, pooled = _first(value, _HIDDEN_KEYS), _first(value, _POOLED_KEYS)
        if stored is None:
            raise ValueError(
                f"a dict with the keys {sorted(map(str, value))}, without "
                f"{' or '.join(_HIDDEN_KEYS)}"
            )
        value = stored
    elif isinstance(value, (list, tuple)) and value:
        value = value[0]
    text = _unbatched(float_tensor(value, "text"), 2, "[S, D]", allow_batched=allow_batched)
    pooled = None if pooled is None else as_pooled(pooled, allow_batched=allow_batched)
    return TextEmbeddings(text=trim_zero_rows(text) if trim else text, pooled=pooled)


def as_pooled(value: Any, *, allow_batched: bool = True) -> torch.Tensor:
    """[D'] or, with ``allow_batched``, [1, D'], a tensor or an array -> [D']. Raises ValueError."""
    return _unbatched(
        float_tensor(value, "pooled embeddings"), 1, "[D]", allow_batched=allow_batched
    )


def trim_zero_rows(text: torch.Tensor) -> torch.Tensor:
    """[S, D] without the zero rows at its end; one row is kept of a text that is all zero."""
    if bool(text[-1].ne(0).any()):
        return text
    real = text.abs().amax(dim=1).nonzero()
    return text[: int(real[-1]) + 1 if len(real) else 1]


def _one_encoder(name: str, stored: dict[str, Any], *, trim: bool) -> dict[str, torch.Tensor]:
    unknown = sorted(set(map(str, stored)) - {"hidden", "pooled"})
    if unknown or not stored:
        raise ValueError(
            f"the text encoder {name!r} stores {unknown or 'nothing'}, not hidden or pooled"
        )
    tensors = {}
    if "hidden" in stored:
        hidden = _unbatched(
            float_tensor(stored["hidden"], f"{name}'s hidden"), 2, "[S, D]", allow_batched=False
        )
        tensors["hidden"] = trim_zero_rows(hidden) if trim else hidden
    if "pooled" in stored:
        tensors["pooled"] = _unbatched(
            float_tensor(stored["pooled"], f"{name}'s pooled"), 1, "[D]", allow_batched=False
        )
    return tensors


def _choose(
    encoders: Mapping[str, Mapping[str, torch.Tensor]], kind: str, name: str | None
) -> torch.Tensor | None:
    having = [candidate for candidate, stored in encoders.items() if kind in stored]
    if name is not None and name not in having:
        raise ValueError(
            f"no text encoder {name!r} with {kind} embeddings (there are: "
            f"{', '.join(having) or 'none'})"
        )
    chosen = name or next(iter(having), None)
    return None if chosen is None else encoders[chosen][kind]


def _first(stored: Mapping[Any, Any], keys: tuple[str, ...]) -> Any:
    return next((stored[key] for key in keys if stored.get(key) is not None), None)


def _shapes_of_half(latent: torch.Tensor) -> list[list[int]]:
    """The ``latent_shape`` that says that ``latent`` [2 C, T, H, W] is moments; an image's may
    leave T out.
    """
    channels, frames, height, width = latent.shape
    if channels % 2:
        return []
    whole = [channels // 2, frames, height, width]
    return [whole, [channels // 2, height, width]] if frames == 1 else [whole]


def _unbatched(
    tensor: torch.Tensor, ndim: int, expected: str, *, allow_batched: bool
) -> torch.Tensor:
    found = list(tensor.shape)
    if allow_batched and tensor.ndim == ndim + 1 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim != ndim or not tensor.numel():
        raise ValueError(f"text embeddings of shape {found}, not {expected}")
    return tensor
