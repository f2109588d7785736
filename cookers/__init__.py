"""Station 9, cookers: the parts of a sample -> a typed sample, on the training node (torch and Energon only)."""

from __future__ import annotations

from cookers.cook import as_latent, as_text, cook_latents, latent_cooker
from cookers.safe import DecodeError, UnsafePickleError, load_json, load_pickle, load_pth
from cookers.samples import LatentSample

__all__ = [
    "DecodeError",
    "LatentSample",
    "UnsafePickleError",
    "as_latent",
    "as_text",
    "cook_latents",
    "latent_cooker",
    "load_json",
    "load_pickle",
    "load_pth",
]
