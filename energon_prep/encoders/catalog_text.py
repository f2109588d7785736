"""Station 3, encoders: the text encoders that have a short name here."""

from __future__ import annotations

from typing import Literal

from energon_prep.encoders.model_info import ModelInfo


def _t5(
    alias: str,
    hf_id: str,
    *,
    width: int,
    d_ff: int,
    d_kv: int = 64,
    heads: int,
    layers: int,
    gated: bool = False,
    family: Literal["t5", "umt5"] = "t5",
    vocab_size: int = 32128,
) -> ModelInfo:
    shared = {"d_model": width, "feed_forward_proj": "gated-gelu" if gated else "relu"}
    return ModelInfo(
        alias=alias,
        hf_id=hf_id,
        family=family,
        tiny={**shared, "d_ff": 64, "d_kv": 16, "num_heads": 2, "num_layers": 1},
        published={
            **shared,
            "d_ff": d_ff,
            "d_kv": d_kv,
            "num_heads": heads,
            "num_layers": layers,
            "vocab_size": vocab_size,
        },
    )


def _clip(alias: str, hf_id: str, *, width: int, layers: int, heads: int) -> ModelInfo:
    shared = {"hidden_size": width, "projection_dim": width, "max_position_embeddings": 77, "hidden_act": "quick_gelu"}
    return ModelInfo(
        alias=alias,
        hf_id=hf_id,
        family="clip",
        tiny={**shared, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 1},
        published={
            **shared,
            "intermediate_size": 4 * width,
            "num_attention_heads": heads,
            "num_hidden_layers": layers,
            "vocab_size": 49408,
        },
    )


TEXT_MODELS = (
    _t5("t5-small", "google-t5/t5-small", width=512, d_ff=2048, heads=8, layers=6),
    _t5("t5-base", "google-t5/t5-base", width=768, d_ff=3072, heads=12, layers=12),
    _t5("t5-large", "google-t5/t5-large", width=1024, d_ff=4096, heads=16, layers=24),
    _t5("t5-3b", "google-t5/t5-3b", width=1024, d_ff=16384, d_kv=128, heads=32, layers=24),
    _t5("t5-11b", "google-t5/t5-11b", width=1024, d_ff=65536, d_kv=128, heads=128, layers=24),
    _t5("t5-xxl", "google/t5-v1_1-xxl", width=4096, d_ff=10240, heads=64, layers=24, gated=True),
    _t5("flan-t5-xxl", "google/flan-t5-xxl", width=4096, d_ff=10240, heads=64, layers=24, gated=True),
    _t5(
        "umt5-xxl",
        "google/umt5-xxl",
        width=4096,
        d_ff=10240,
        heads=64,
        layers=24,
        gated=True,
        family="umt5",
        vocab_size=256384,
    ),
    _clip("clip-l", "openai/clip-vit-large-patch14", width=768, layers=12, heads=12),
)
