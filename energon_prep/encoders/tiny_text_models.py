"""Station 3, encoders: builds text encoders of a recipe's architectures with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import transformers

from energon_prep.encoders.model_info import Family, ModelInfo, Size
from energon_prep.encoders.tiny_fill import fill
from energon_prep.encoders.tiny_tokenizers import save_tokenizer

TEXT_CLASSES: Mapping[Family, str] = {"t5": "T5EncoderModel", "umt5": "UMT5EncoderModel", "clip": "CLIPTextModel"}


def save_text(info: ModelInfo, size: Size, folder: Path, tokenizer_folder: Path) -> None:
    """Save a model and its tokenizer in the layout of transformers."""
    ids = save_tokenizer(info.family, tokenizer_folder)
    architecture = {**ids, **info.architecture(size)}
    config_class = {
        "t5": transformers.T5Config,
        "umt5": transformers.UMT5Config,
        "clip": transformers.CLIPTextConfig,
    }[info.family]
    with torch.device("meta"):
        model = getattr(transformers, TEXT_CLASSES[info.family])(config_class(**architecture))
    model = fill(model, d_kv=architecture.get("d_kv", 1))
    model.tie_weights()
    model.save_pretrained(folder, safe_serialization=True)
