"""CLIP as published: whole models with their vision tower, text encoders alone in pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from energon_prep.encoders.catalog import CATALOG
from tests.published.files import State, random_model, write_json, write_pickles, write_safetensors

#: The ids are those of no CLIP tokenizer: CLIP takes the highest id for the end.
_TEXT: dict[str, Any] = {
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "dropout": 0.0,
    "eos_token_id": 2,
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-05,
    "model_type": "clip_text_model",
    "pad_token_id": 1,
}
_VISION: dict[str, Any] = {
    "hidden_size": 16,
    "image_size": 28,
    "intermediate_size": 16,
    "model_type": "clip_vision_model",
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "patch_size": 14,
}


def whole(folder: Path, alias: str, num_tokens: int, *, pickled: bool = False) -> None:
    """Both towers, and the positions' numbers, which old files have and models do not."""
    text = _text_config(alias, num_tokens)
    width = text["projection_dim"]
    config = {
        "architectures": ["CLIPModel"],
        "initializer_factor": 1.0,
        "logit_scale_init_value": 2.6592,
        "model_type": "clip",
        "projection_dim": width,
        "text_config": text,
        # wins
        "text_config_dict": {key: text[key] for key in ("vocab_size", *CATALOG[alias].tiny)},
        "vision_config": {**_VISION, "projection_dim": width},
        "vision_config_dict": None,
    }
    model = random_model(transformers.CLIPModel, transformers.CLIPConfig(**config))
    state = dict(model.state_dict()) | {
        "logit_scale": torch.tensor(2.6592),
        "text_model.embeddings.position_ids": torch.arange(77)[None],
        "vision_model.embeddings.position_ids": torch.arange(5)[None],
    }
    write_json(folder / "config.json", config)
    if pickled:
        write_pickles(folder, state)
    else:
        write_safetensors(folder, state)


def text_encoder(folder: Path, alias: str, num_tokens: int, *, projection: bool) -> None:
    """``text_encoder*`` of a pipeline: ``text_model.*``, and the projection if it says so."""
    name = "CLIPTextModelWithProjection" if projection else "CLIPTextModel"
    config = {**_text_config(alias, num_tokens), "architectures": [name], "torch_dtype": "bfloat16"}
    model_class = transformers.CLIPTextModelWithProjection
    state: State = dict(
        random_model(model_class, transformers.CLIPTextConfig(**config)).state_dict()
    )
    if not projection:
        del state["text_projection.weight"]
    write_json(folder / "config.json", config)
    write_safetensors(
        folder, {"text_model.embeddings.position_ids": torch.arange(77)[None], **state}
    )


def _text_config(alias: str, num_tokens: int) -> dict[str, Any]:
    return {**_TEXT, **CATALOG[alias].tiny, "vocab_size": num_tokens}
