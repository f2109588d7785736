"""The text encoders that have a short name here."""

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


def _clip(
    alias: str,
    hf_id: str,
    *,
    subfolder: str = "",
    width: int,
    layers: int,
    heads: int,
    activation: str = "quick_gelu",
    pad_token: str | None = None,
) -> ModelInfo:
    shared = {
        "hidden_size": width,
        "projection_dim": width,
        "max_position_embeddings": 77,
        "hidden_act": activation,
    }
    return ModelInfo(
        alias=alias,
        hf_id=hf_id,
        family="clip",
        subfolder=subfolder,
        tiny={**shared, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2},
        published={
            **shared,
            "intermediate_size": 4 * width,
            "num_attention_heads": heads,
            "num_hidden_layers": layers,
            "vocab_size": 49408,
        },
        pad_token=pad_token,
    )


_LLAMA = {
    "hidden_size": 4096,
    "max_position_embeddings": 8192,
    "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5,
}
_GEMMA = {"hidden_size": 2304}
_QWEN = {
    "hidden_size": 3584,
    "num_attention_heads": 28,  # in tiny too: the heads' width is theirs and the model's alone
    "num_key_value_heads": 4,
    "max_position_embeddings": 128000,
    "rope_theta": 1000000.0,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
}

TEXT_MODELS = (
    _t5("t5-small", "google-t5/t5-small", width=512, d_ff=2048, heads=8, layers=6),
    _t5("t5-base", "google-t5/t5-base", width=768, d_ff=3072, heads=12, layers=12),
    _t5("t5-large", "google-t5/t5-large", width=1024, d_ff=4096, heads=16, layers=24),
    _t5("t5-3b", "google-t5/t5-3b", width=1024, d_ff=16384, d_kv=128, heads=32, layers=24),
    _t5("t5-11b", "google-t5/t5-11b", width=1024, d_ff=65536, d_kv=128, heads=128, layers=24),
    _t5("t5-xxl", "google/t5-v1_1-xxl", width=4096, d_ff=10240, heads=64, layers=24, gated=True),
    _t5(
        "flan-t5-xxl", "google/flan-t5-xxl", width=4096, d_ff=10240, heads=64, layers=24, gated=True
    ),
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
    _clip(
        # laion/CLIP-ViT-bigG-14-laion2B-39B-b160k as SDXL and SD3 have it, with their padding
        "clip-g",
        "stabilityai/stable-diffusion-xl-base-1.0",
        subfolder="text_encoder_2",
        width=1280,
        layers=32,
        heads=20,
        activation="gelu",
        pad_token="!",
    ),
    _clip("clip-h-dfn5b", "apple/DFN5B-CLIP-ViT-H-14-378", width=1024, layers=24, heads=16),
    ModelInfo(
        alias="llama-3-8b-hunyuan",  # the language model of xtuner/llava-llama-3-8b-v1_1
        hf_id="hunyuanvideo-community/HunyuanVideo",
        family="llama",
        subfolder="text_encoder",
        tiny={
            **_LLAMA,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
        },
        published={
            **_LLAMA,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "vocab_size": 128320,
        },
    ),
    ModelInfo(
        alias="gemma-2-2b-it",
        # Sana's copy of google/gemma-2-2b-it, which needs no permission
        hf_id="Efficient-Large-Model/gemma-2-2b-it",
        family="gemma2",
        tiny={
            **_GEMMA,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
        },
        published={
            **_GEMMA,
            "intermediate_size": 9216,
            "num_hidden_layers": 26,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "query_pre_attn_scalar": 256,
            "vocab_size": 256000,
        },
    ),
    ModelInfo(
        alias="qwen2.5-vl-7b",
        hf_id="Qwen/Qwen-Image",  # whose text encoder is Qwen/Qwen2.5-VL-7B-Instruct
        family="qwen2.5-vl",
        subfolder="text_encoder",
        tiny={**_QWEN, "intermediate_size": 64, "num_hidden_layers": 3},
        published={
            **_QWEN,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "vocab_size": 152064,
        },
    ),
)
