"""Samples as AMD's Primus and MLPerf's FLUX.1 store them -> LatentSample.

Both normalise in the training step what they draw from stored moments, while a LatentSample is
ready for training. So these cookers normalise, with FLUX.1's own shift and scale unless others are
given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from megatron.energon import Cooker, basic_sample_keys, stateless

from cookers.convert import as_latent, as_pooled, as_text, normalize
from cookers.cook import as_object, has_part, read_part
from cookers.safe import DecodeError, load_json, load_npy, load_pth
from cookers.samples import LatentSample

#: The config of FLUX.1's AutoencoderKL, and the constants of MLPerf's training.
FLUX_SHIFT = 0.1159
FLUX_SCALE = 0.3611


def primus_cookers(*, shift: float = FLUX_SHIFT, scale: float = FLUX_SCALE) -> list[Cooker]:
    """For ``target: primus-flux``, and for what Primus itself calls ``encoding: preencoded``.

    Parts ``latents.pth`` (normalised) or ``mean.pth`` and ``logvar.pth`` (which are not),
    ``prompt_embeds.pth``, ``pooled_prompt_embeds.pth`` and, where there are any, ``caption.txt``
    and ``json``. Moments are taken if they are there: ``latents.pth`` beside them is their mode.
    """
    parts = _Parts(
        load=load_pth,
        moments=("mean.pth", "logvar.pth"),
        latent="latents.pth",
        text="prompt_embeds.pth",
        pooled="pooled_prompt_embeds.pth",
    )
    subflavors = ({"target": "primus-flux"}, {"encoding": "preencoded"})
    return _cookers(parts, subflavors, shift=shift, scale=scale)


def mlperf_cookers(*, shift: float = FLUX_SHIFT, scale: float = FLUX_SCALE) -> list[Cooker]:
    """For ``target: mlperf-flux``, and for what Primus calls ``encoding: preencoded_numpy``.

    Parts ``mean.bytes``, ``logvar.bytes``, ``t5.bytes``, ``clip.bytes``: bfloat16 numbers in .npy
    files of uint16.
    """
    parts = _Parts(
        load=load_bfloat16,
        moments=("mean.bytes", "logvar.bytes"),
        text="t5.bytes",
        pooled="clip.bytes",
    )
    subflavors = ({"target": "mlperf-flux"}, {"encoding": "preencoded_numpy"})
    return _cookers(parts, subflavors, shift=shift, scale=scale)


def load_bfloat16(data: bytes) -> torch.Tensor:
    """A .npy file of uint16, whose bits are bfloat16. Raises DecodeError."""
    array = load_npy(data)
    if array.dtype.kind != "u" or array.dtype.itemsize != 2:
        raise DecodeError(f"an array of {array.dtype}, not of uint16 (the bits of bfloat16)")
    return torch.from_numpy(array.astype("<u2", copy=False)).view(torch.bfloat16)


def unpack_text(value: Any) -> Any:
    """The text of one MLPerf sample kept as one value, {"t5": bytes, "clip": bytes}, as ``as_text``
    reads it; all else stays as it is. So the empty caption of such a dataset is stored."""
    if not isinstance(value, dict) or not isinstance(value.get("t5"), bytes):
        return value
    names = {"t5": "prompt_embeds", "clip": "pooled_prompt_embeds"}
    return {names[name]: load_bfloat16(data) for name, data in value.items() if name in names}


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What a trainer calls its parts."""

    load: Callable[[bytes], Any]
    moments: tuple[str, str]  #: mean and log-variance
    latent: str | None = None  #: normalised, of samples without moments; None: all have moments
    text: str
    pooled: str


def _cookers(
    parts: _Parts, subflavors: Sequence[dict[str, str]], *, shift: float, scale: float
) -> list[Cooker]:
    """For datasets that have one of ``subflavors``."""

    @stateless  # type: ignore[untyped-decorator]
    def cook(sample: dict[str, Any]) -> LatentSample:
        latent, logvar = _latent(sample, parts, shift, scale)
        return LatentSample(
            **basic_sample_keys(sample),
            latent=latent,
            logvar=logvar,
            text=read_part(sample, parts.text, parts.load, as_text).text,
            pooled=read_part(sample, parts.pooled, parts.load, as_pooled),
            metadata=_metadata(sample),
        )

    return [Cooker(cook, has_subflavors=selection) for selection in subflavors]


def _latent(
    sample: dict[str, Any], parts: _Parts, shift: float, scale: float
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Normalised, with the log-variance of moments."""
    if parts.latent is not None and not any(has_part(sample, name) for name in parts.moments):
        return read_part(sample, parts.latent, parts.load, as_latent), None
    mean, logvar = (read_part(sample, name, parts.load, as_latent) for name in parts.moments)
    if mean.shape != logvar.shape:
        raise ValueError(
            f"sample {sample['__key__']}: {parts.moments[0]} of shape {list(mean.shape)}, "
            f"{parts.moments[1]} of {list(logvar.shape)}"
        )
    return normalize(mean, logvar, shift=shift, scale=scale)


def _metadata(sample: dict[str, Any]) -> dict[str, Any]:
    """The JSON, where there is any, with the caption, where it is a part of its own."""
    metadata = read_part(sample, "json", load_json, as_object) if has_part(sample, "json") else {}
    if not has_part(sample, "caption.txt"):
        return metadata
    caption = read_part(
        sample, "caption.txt", lambda data: data.decode("utf-8", errors="replace"), str
    )
    return {"caption": caption, **metadata}
