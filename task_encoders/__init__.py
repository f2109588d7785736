"""Station 9, task encoders: typed samples -> the batches that trainers read (torch and Energon only)."""

from __future__ import annotations

from task_encoders.latent import EMPTY_CAPTION, LatentBatch, LatentTaskEncoder, load_empty_caption

__all__ = ["EMPTY_CAPTION", "LatentBatch", "LatentTaskEncoder", "load_empty_caption"]
