"""What every trainer's sample must be; each error names the sample's key."""

from __future__ import annotations

import math

import torch
from megatron.energon import SkipSample

from cookers import LatentSample

MAX_LATENT = 1e3  #: the trainers skip samples with a larger magnitude


def magnitude(numbers: torch.Tensor) -> float:
    """The largest, in one pass; no finite one if there is NaN or Inf among them."""
    low, high = torch.aminmax(numbers)  # which hands NaN on
    return float(torch.maximum(-low, high))


def skip_unhealthy(sample: LatentSample) -> None:
    """Raise SkipSample for a latent with NaN, Inf or a magnitude above 1e3, as the trainers do."""
    most = magnitude(sample.latent)
    if not math.isfinite(most):
        raise SkipSample("with NaN or Inf in the latent")
    if most > MAX_LATENT:
        raise SkipSample(f"with a latent above {MAX_LATENT:g} in magnitude")


def require_latent(
    sample: LatentSample, *, channels: int | None = None, patch: tuple[int, int] = (2, 1)
) -> None:
    """Latent of ``channels`` and a whole number of patches (spatial, temporal). Raises
    ValueError.
    """
    found, frames, height, width = sample.latent.shape
    shape = list(sample.latent.shape)
    if channels is not None and found != channels:
        hint = (
            "; if these are moments, its JSON must say posterior: moments"
            if found == 2 * channels
            else ""
        )
        raise ValueError(
            f"sample {sample.__key__}: a latent {shape} of {found} channels, not {channels}{hint}"
        )
    spatial, temporal = patch
    if height % spatial or width % spatial or frames % temporal:
        raise ValueError(
            f"sample {sample.__key__}: a latent {shape} [C, T, H, W] that is no whole number "
            f"of patches of {temporal} x {spatial} x {spatial}"
        )


def require_text(
    sample: LatentSample, *, width: int | None = None, max_tokens: int | None = None
) -> None:
    """Finite text of that width and at most ``max_tokens``. Raises ValueError."""
    tokens, found = sample.text.shape
    if width is not None and found != width:
        raise ValueError(f"sample {sample.__key__}: text embeddings of width {found}, not {width}")
    if max_tokens is not None and tokens > max_tokens:
        raise ValueError(
            f"sample {sample.__key__}: a text of {tokens} tokens, more than {max_tokens}"
        )
    if not math.isfinite(magnitude(sample.text)):
        raise ValueError(f"sample {sample.__key__}: text embeddings with NaN or Inf")
