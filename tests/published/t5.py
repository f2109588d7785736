"""T5 and UMT5 as published: whole models in repositories of their own, encoders alone in
pipelines.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers

from energon_prep.encoders.catalog import CATALOG
from tests.published.files import State, random_model, write_json, write_pickles, write_safetensors

_CONFIG: dict[str, Any] = {
    "architectures": ["T5ForConditionalGeneration"],
    "decoder_start_token_id": 0,
    "dropout_rate": 0.1,
    "eos_token_id": 1,
    "initializer_factor": 1.0,
    "is_encoder_decoder": True,
    "layer_norm_epsilon": 1e-06,
    "model_type": "t5",
    "n_positions": 512,
    "output_past": True,
    "pad_token_id": 0,
    "relative_attention_num_buckets": 32,
    "task_specific_params": {"summarization": {"early_stopping": True, "prefix": "summarize: "}},
}
#: What google/t5-v1_1-xxl says and google-t5 does not; flan-t5-xxl and umt5-xxl say it too.
_VERSION_1_1: dict[str, Any] = {
    "feed_forward_proj": "gated-gelu",
    "num_decoder_layers": 1,
    "tie_word_embeddings": False,
    "use_cache": True,
}
_UMT5: dict[str, Any] = {
    **_VERSION_1_1,
    "architectures": ["UMT5ForConditionalGeneration"],
    "classifier_dropout": 0.0,
    "dense_act_fn": "gelu_new",
    "is_gated_act": True,
    "model_type": "umt5",
    "relative_attention_max_distance": 128,
    "scalable_attention": True,
    "tokenizer_class": "T5Tokenizer",
}


def whole(
    folder: Path, alias: str, num_tokens: int, *, shards: int = 1, pickled: bool = False
) -> None:
    """Encoder and decoder together, their embeddings under every name that they have."""
    config = _config(alias, num_tokens)
    prefix = "UMT5" if config["model_type"] == "umt5" else "T5"
    state = _state(config, f"{prefix}ForConditionalGeneration")
    state["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = state[
        "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    ]  # which no model has any more, and old files do
    write_json(folder / "config.json", config)
    if pickled:
        write_pickles(folder, state, shards=shards)
    else:
        write_safetensors(folder, state, shards=shards)


def encoder(
    folder: Path, alias: str, num_tokens: int, *, shards: int = 2, embeddings: str = "shared.weight"
) -> None:
    """``text_encoder*`` of a pipeline. ``embeddings``: the one name under which they are there."""
    config = _config(alias, num_tokens)
    name = "UMT5EncoderModel" if config["model_type"] == "umt5" else "T5EncoderModel"
    config |= {"architectures": [name], "torch_dtype": "bfloat16", "transformers_version": "4.43.3"}
    state = _state(config, name)
    table = state.pop("shared.weight")
    del state["encoder.embed_tokens.weight"]
    write_json(folder / "config.json", config)
    write_safetensors(folder, {embeddings: table, **state}, shards=shards)


def _config(alias: str, num_tokens: int) -> dict[str, Any]:
    """Rounded up as published: 28 or 84 rows of the embeddings are of no token."""
    info = CATALOG[alias]
    spare = 28 if info.family == "t5" else 84
    version = (
        _UMT5
        if info.family == "umt5"
        else _VERSION_1_1
        if "gated-gelu" in info.tiny.values()
        else {}
    )
    sizes = {key: value for key, value in info.tiny.items() if key != "feed_forward_proj"}
    return {**_CONFIG, **version, **sizes, "vocab_size": num_tokens + spare}


def _state(config: dict[str, Any], name: str) -> State:
    model_class = getattr(transformers, name)
    model = random_model(model_class, model_class.config_class(**config), d_kv=config["d_kv"])
    model.tie_weights()
    return dict(model.state_dict())
