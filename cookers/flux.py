"""Samples as AMD's Primus and MLPerf's FLUX.1 store them -> LatentSample.

Both normalise in the training step what they draw from stored moments, while a LatentSample is
ready for training. So these cookers normalise, with FLUX.1's own shift and scale unless others are
given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from megatron.energon import Cooker, basic_sample_keys, stateless

from cookers.convert import as_latent, as_pooled, as_text, normalize
from cookers.cook import as_object, read_part
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

    @stateless  # type: ignore[untyped-decorator]
    def cook(sample: dict[str, Any]) -> LatentSample:
        latent, logvar = _moments(sample, ("mean.pth", "logvar.pth"), load_pth, shift, scale)
        if latent is None:
            latent = read_part(sample, "latents.pth", load_pth, as_latent)
        text = read_part(sample, "prompt_embeds.pth", load_pth, as_text).text
        return _sample(
            sample,
            latent,
            logvar,
            text,
            read_part(sample, "pooled_prompt_embeds.pth", load_pth, as_pooled),
        )

    return _selected_by(cook, {"target": "primus-flux"}, {"encoding": "preencoded"})


def mlperf_cookers(*, shift: float = FLUX_SHIFT, scale: float = FLUX_SCALE) -> list[Cooker]:
    """For ``target: mlperf-flux``, and for what Primus calls ``encoding: preencoded_numpy``.

    Parts ``mean.bytes``, ``logvar.bytes``, ``t5.bytes``, ``clip.bytes``: bfloat16 numbers in .npy
    files of uint16.
    """

    @stateless  # type: ignore[untyped-decorator]
    def cook(sample: dict[str, Any]) -> LatentSample:
        latent, logvar = _moments(
            sample, ("mean.bytes", "logvar.bytes"), load_bfloat16, shift, scale
        )
        if latent is None:
            # which says what is missing
            latent = read_part(sample, "mean.bytes", load_bfloat16, as_latent)
        text = read_part(sample, "t5.bytes", load_bfloat16, as_text).text
        return _sample(
            sample, latent, logvar, text, read_part(sample, "clip.bytes", load_bfloat16, as_pooled)
        )

    return _selected_by(cook, {"target": "mlperf-flux"}, {"encoding": "preencoded_numpy"})


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


def _selected_by(
    cook: Callable[[dict[str, Any]], LatentSample], *subflavors: dict[str, str]
) -> list[Cooker]:
    return [Cooker(cook, has_subflavors=selection) for selection in subflavors]


def _moments(
    sample: dict[str, Any],
    names: tuple[str, str],
    load: Callable[[bytes], Any],
    shift: float,
    scale: float,
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    if not any(name in sample for name in names):
        return None, None
    mean, logvar = (read_part(sample, name, load, as_latent) for name in names)
    if mean.shape != logvar.shape:
        raise ValueError(
            f"sample {sample['__key__']}: {names[0]} of shape {list(mean.shape)}, {names[1]} "
            f"of {list(logvar.shape)}"
        )
    return normalize(mean, logvar, shift=shift, scale=scale)


def _sample(
    sample: dict[str, Any],
    latent: torch.Tensor,
    logvar: torch.Tensor | None,
    text: torch.Tensor,
    pooled: torch.Tensor,
) -> LatentSample:
    metadata = read_part(sample, "json", load_json, as_object) if "json" in sample else {}
    if "caption.txt" in sample:
        caption = read_part(
            sample, "caption.txt", lambda data: data.decode("utf-8", errors="replace"), str
        )
        metadata = {"caption": caption, **metadata}
    return LatentSample(
        **basic_sample_keys(sample),
        latent=latent,
        logvar=logvar,
        text=text,
        pooled=pooled,
        metadata=metadata,
    )
