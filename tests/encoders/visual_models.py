"""Tiny visual encoders for tests: ours, and the diffusers models they are made of."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import diffusers
import torch

from energon_prep.demo.tiny import build_pipeline
from energon_prep.encoders.base import VisualEncoder
from energon_prep.encoders.catalog import CATALOG
from energon_prep.encoders.visual_classes import DIFFUSERS_CLASSES, VISUAL_CLASSES
from tests.encoders.loading import load_visual
from tests.encoders.recipes import recipe

#: One alias for each diffusers class, and those that differ in more than their numbers.
ALIASES = [
    alias
    for alias, info in CATALOG.items()
    if info.family in DIFFUSERS_CLASSES and alias != "wan2.2-a14b"
]
CLIP_ALIASES = [alias for alias in ALIASES if VISUAL_CLASSES[CATALOG[alias].family].clips]
GAUSSIAN_ALIASES = [alias for alias in ALIASES if VISUAL_CLASSES[CATALOG[alias].family].gaussian]

SEEDS = [11, 12]


@functools.cache
def load(alias: str, **spec: Any) -> VisualEncoder:
    """Our encoder, in fp32 unless ``spec`` says otherwise; the same object each time."""
    return load_visual(
        recipe({"model": alias, **spec}, {"model": "t5-small"}), weights="tiny", device="cpu"
    )


@functools.cache
def vae_of(alias: str) -> Any:
    """The same weights as diffusers loads them, in fp32."""
    folder = build_pipeline(recipe(alias, {"model": "t5-small"}), "tiny") / "vae"
    return getattr(diffusers, CATALOG[alias].family).from_pretrained(folder).eval()


def pixels_of(
    encoder: VisualEncoder, latent_frames: int = 1, *, height: int = 64, width: int = 64
) -> torch.Tensor:
    """Two samples [2, T, H, W, 3] uint8: noise, darker in the second, so that no two frames or
    samples are alike.
    """
    frames = 1 + (latent_frames - 1) * (encoder.temporal_factor or 1)
    generator = torch.Generator().manual_seed(frames)
    noise = torch.randint(0, 256, (2, frames, height, width, 3), generator=generator)
    return (noise // torch.tensor([1, 2]).view(2, 1, 1, 1, 1)).to(torch.uint8)


def in_model_range(pixels: torch.Tensor) -> torch.Tensor:
    """[B, T, H, W, 3] uint8 -> [B, 3, T, H, W] in [-1, 1], as diffusers' image processors have
    it.
    """
    return pixels.permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def posterior_of(alias: str, pixels: torch.Tensor) -> SimpleNamespace:
    """Mean and log-variance [B, C, T, H, W] that diffusers gives; one sample at a time, as its
    pipelines encode.
    """
    clips = VISUAL_CLASSES[CATALOG[alias].family].clips
    means, logvars = [], []
    with torch.no_grad():
        for sample in in_model_range(pixels).split(1):
            output = vae_of(alias).encode(sample if clips else sample[:, :, 0])
            posterior = output.latent_dist if "latent_dist" in output else None
            means.append(output.latent if posterior is None else posterior.mode())
            logvars.append(getattr(posterior, "logvar", means[-1]))
    mean, logvar = torch.cat(means), torch.cat(logvars)
    return SimpleNamespace(
        mean=mean if clips else mean.unsqueeze(2), logvar=logvar if clips else logvar.unsqueeze(2)
    )
