"""Builds text encoders of a recipe's architectures with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from energon_prep.demo.tiny.fill import fill
from energon_prep.demo.tiny.tokenizers import save_tokenizer
from energon_prep.encoders.model_info import Family, ModelInfo, Size
from energon_prep.encoders.text_families import TEXT_FAMILY

#: What a pipeline of diffusers names in its model_index.json, where it is not what is loaded here.
_SAVED_CLASSES: Mapping[Family, str] = {
    "clip": "CLIPTextModelWithProjection",  # which serves as CLIPTextModel too
    "qwen2.5-vl": "Qwen2_5_VLForConditionalGeneration",
}

#: The vision tower of Qwen2.5-VL, which encodes no captions.
_VISION = {
    "depth": 1,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_heads": 2,
    "fullatt_block_indexes": [0],
}


def text_class(family: Family) -> str:
    """What model_index.json says of such an encoder."""
    return (
        _SAVED_CLASSES["qwen2.5-vl"] if family == "qwen2.5-vl" else TEXT_FAMILY[family].model_class
    )


def save_text(info: ModelInfo, size: Size, folder: Path, tokenizer_folder: Path) -> None:
    """Save a model and its tokenizer in the layout of transformers."""
    family = TEXT_FAMILY[info.family]
    ids = save_tokenizer(info.family, tokenizer_folder, info.pad_token)
    architecture: dict[str, Any] = {**ids, **info.architecture(size)}
    options = architecture
    if info.family == "qwen2.5-vl":
        vision = {**_VISION, "out_hidden_size": architecture["hidden_size"]}
        options = {
            "text_config": architecture,
            "vision_config": vision,
            "tie_word_embeddings": False,
        }
    config = getattr(transformers, family.config_class)(**options)
    with torch.device("meta"):
        model = getattr(transformers, _SAVED_CLASSES.get(info.family, family.model_class))(config)
    # Gemma multiplies its embeddings by sqrt(width).
    embedding = architecture["hidden_size"] ** -0.5 if info.family == "gemma2" else 1.0
    model = fill(model, d_kv=architecture.get("d_kv", 1), embedding=embedding)
    model.tie_weights()
    model.save_pretrained(folder, safe_serialization=True)
