"""Text encoders as tests load and use them, and a model that holds one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from energon_prep.encoders.base import TextEncoder
from tests.encoders.loading import load_texts
from tests.encoders.recipes import recipe


def whole_clip(text: Any, *, projection_dim: int) -> transformers.CLIPModel:
    """A CLIP of random values, of the size of ``text`` and with a vision tower of the smallest."""
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    return transformers.CLIPModel(
        transformers.CLIPConfig(
            text_config=text.config.to_dict(), vision_config=vision, projection_dim=projection_dim
        )
    )


def load_text(model: Path | str, **spec: Any) -> TextEncoder:
    return load_texts(recipe("sdxl", {"model": str(model), **spec}), weights=None, device="cpu")[0]


def embed(encoder: TextEncoder) -> torch.Tensor:
    (embedding,) = encoder.encode(encoder.tokenize(["a photo of a cat"]))
    return embedding.hidden if embedding.pooled is None else embedding.pooled
