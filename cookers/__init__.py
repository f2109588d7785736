"""The parts of a sample -> a typed sample, on the training node (torch and Energon only)."""

from __future__ import annotations

from cookers.convert import as_latent, as_text
from cookers.cook import Layout, cook_latents, latent_cooker, make_cooker
from cookers.flux import mlperf_cookers, primus_cookers, unpack_text
from cookers.joins import replace_text
from cookers.safe import DecodeError, UnsafePickleError, load_json, load_npy, load_pickle, load_pth
from cookers.samples import LatentSample, TextEmbeddings
from cookers.trainers import all_cookers, trainer_cookers

__all__ = [
    "DecodeError",
    "LatentSample",
    "Layout",
    "TextEmbeddings",
    "UnsafePickleError",
    "all_cookers",
    "as_latent",
    "as_text",
    "cook_latents",
    "latent_cooker",
    "load_json",
    "load_npy",
    "load_pickle",
    "load_pth",
    "make_cooker",
    "mlperf_cookers",
    "primus_cookers",
    "replace_text",
    "trainer_cookers",
    "unpack_text",
]
