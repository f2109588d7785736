"""Typed samples -> the batches that trainers read (torch and Energon only)."""

from __future__ import annotations

from task_encoders.captions import EMPTY_CAPTION, load_empty_caption
from task_encoders.dit import DiTTaskEncoder
from task_encoders.errors import DataError
from task_encoders.filters import Filters
from task_encoders.flux import FluxTaskEncoder
from task_encoders.latent import LatentBatch, LatentTaskEncoder
from task_encoders.nemo_dit import NeMoDiTTaskEncoder
from task_encoders.ranks import fixed_batches, in_step
from task_encoders.wan import WanTaskEncoder

__all__ = [
    "EMPTY_CAPTION",
    "DataError",
    "DiTTaskEncoder",
    "Filters",
    "FluxTaskEncoder",
    "LatentBatch",
    "LatentTaskEncoder",
    "NeMoDiTTaskEncoder",
    "WanTaskEncoder",
    "fixed_batches",
    "in_step",
    "load_empty_caption",
]
