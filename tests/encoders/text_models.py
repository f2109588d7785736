"""Models of transformers that hold more than a text encoder."""

from __future__ import annotations

from typing import Any

import transformers


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
