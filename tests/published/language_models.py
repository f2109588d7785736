"""Llama 3, Gemma 2 and Qwen2.5-VL as published, in repositories of their own and in pipelines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers

from energon_prep.encoders.catalog import CATALOG
from tests.published.files import random_model, write_json, write_safetensors

_LLAMA: dict[str, Any] = {
    "architectures": ["LlamaModel"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 128000,
    "eos_token_id": 128001,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "mlp_bias": False,
    "model_type": "llama",
    "pretraining_tp": 1,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "transformers_version": "4.46.3",
    "use_cache": True,
}
_GEMMA: dict[str, Any] = {
    "architectures": ["Gemma2ForCausalLM"],
    "attention_bias": False,
    "attn_logit_softcapping": 50.0,
    "bos_token_id": 2,
    "cache_implementation": "hybrid",
    "eos_token_id": [1, 107],
    "final_logit_softcapping": 30.0,
    "hidden_activation": "gelu_pytorch_tanh",
    "max_position_embeddings": 8192,
    "model_type": "gemma2",
    "pad_token_id": 0,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0,
    "sliding_window": 4096,
    "torch_dtype": "bfloat16",
}
_QWEN: dict[str, Any] = {
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "max_window_layers": 28,
    "sliding_window": 32768,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_sliding_window": False,
    "vision_end_token_id": 151653,
    "vision_start_token_id": 151652,
    "vision_token_id": 151654,
}
#: The width of a head is the model's alone; that of the whole is checked by no target.
_QWEN_NARROW = {"hidden_size": 256, "num_attention_heads": 2, "num_key_value_heads": 1}
_VISION: dict[str, Any] = {
    "depth": 1,
    "fullatt_block_indexes": [0],
    "hidden_act": "silu",
    "hidden_size": 32,
    "in_chans": 3,
    "intermediate_size": 32,
    "model_type": "qwen2_5_vl",
    "num_heads": 2,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "spatial_patch_size": 14,
    "temporal_patch_size": 2,
    "tokens_per_second": 2,
    "window_size": 112,
}


def llama(folder: Path, alias: str, num_tokens: int) -> None:
    """``text_encoder`` of HunyuanVideo: a LlamaModel without a head, in four files."""
    config = {**_LLAMA, **CATALOG[alias].tiny, "vocab_size": num_tokens}
    state = dict(
        random_model(transformers.LlamaModel, transformers.LlamaConfig(**config)).state_dict()
    )
    write_json(folder / "config.json", config)
    write_safetensors(folder, state, shards=4)


def gemma(folder: Path, alias: str, num_tokens: int) -> None:
    """A Gemma2ForCausalLM, whose head is its embeddings."""
    config = {**_GEMMA, **CATALOG[alias].tiny, "vocab_size": num_tokens}
    width = config["hidden_size"]
    made = random_model(
        transformers.Gemma2ForCausalLM, transformers.Gemma2Config(**config), embedding=width**-0.5
    )
    state = dict(made.state_dict())
    del state["lm_head.weight"]
    write_json(folder / "config.json", config)
    write_safetensors(folder, state, shards=2)


def qwen(
    folder: Path,
    alias: str,
    num_tokens: int,
    *,
    names: str = "published",
    vision: bool = True,
    nested: bool = True,
) -> None:
    """Qwen2_5_VLForConditionalGeneration.

    ``names``: "published", as of transformers before 4.52 (``model.layers``, ``visual``), or
    "nested", as of later ones (``model.language_model.layers``, ``model.visual``). ``vision``: with
    the tower's weights. ``nested``: the language model's sizes in a ``text_config``, as Qwen-Image
    has them; at the top, as Qwen2.5-VL-7B-Instruct does.
    """
    text = _qwen_sizes(alias, num_tokens)
    whole = {"architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl"}
    config = {**_QWEN, **text, **whole, "image_token_id": 151655, "video_token_id": 151656}
    config["vision_config"] = {**_VISION, "out_hidden_size": text["hidden_size"]}
    if nested:
        config["text_config"] = {**_QWEN, **text, "model_type": "qwen2_5_vl_text"}
    made = random_model(
        transformers.Qwen2_5_VLForConditionalGeneration, transformers.Qwen2_5_VLConfig(**config)
    )
    state = dict(made.state_dict())
    if names == "published":
        renamed = {"model.language_model.": "model.", "model.visual.": "visual."}
        state = {_renamed(name, renamed): value for name, value in state.items()}
    if not vision:
        state = {name: value for name, value in state.items() if "visual." not in name}
    write_json(folder / "config.json", config)
    write_safetensors(folder, state, shards=4)


def qwen_text(folder: Path, alias: str, num_tokens: int) -> None:
    """``text_encoder`` of HunyuanVideo 1.5: the language model of Qwen2.5-VL by itself."""
    sizes = _qwen_sizes(alias, num_tokens)
    config = {
        **_QWEN,
        **sizes,
        "architectures": ["Qwen2_5_VLTextModel"],
        "model_type": "qwen2_5_vl_text",
    }
    config |= {
        "sliding_window": None,
        "layer_types": ["full_attention"] * sizes["num_hidden_layers"],
    }
    made = random_model(
        transformers.Qwen2_5_VLTextModel, transformers.Qwen2_5_VLTextConfig(**config)
    )
    write_json(folder / "config.json", config)
    write_safetensors(folder, dict(made.state_dict()), shards=4)


def _qwen_sizes(alias: str, num_tokens: int) -> dict[str, Any]:
    tiny = CATALOG[alias].tiny
    scaling = {
        "mrope_section": tiny["rope_scaling"]["mrope_section"],
        "rope_type": "default",
        "type": "default",
    }
    return {**tiny, **_QWEN_NARROW, "rope_scaling": scaling, "vocab_size": num_tokens}


def _renamed(name: str, prefixes: Mapping[str, str]) -> str:
    for old, new in prefixes.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name
