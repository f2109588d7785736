"""What sets the families of text encoders apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from energon_prep.encoders.model_info import Family
from energon_prep.recipes.model import DType


@dataclass(frozen=True, kw_only=True)
class TextFamily:
    model_class: str  #: of transformers, which gives the hidden states
    config_class: str
    decoder: bool = False  #: a language model: it would keep a cache
    causal: bool = False  #: tokens see none that come after them, so no padding either
    has_end_token: bool = True  #: its tokenizer ends captions with one
    compute_dtype: DType = "bf16"  #: of the pipelines it is published in
    fp16: bool = True  #: False: overflows to NaN or zeros


TEXT_FAMILY: Mapping[Family, TextFamily] = {
    "t5": TextFamily(model_class="T5EncoderModel", config_class="T5Config", fp16=False),
    "umt5": TextFamily(model_class="UMT5EncoderModel", config_class="UMT5Config", fp16=False),
    "clip": TextFamily(model_class="CLIPTextModel", config_class="CLIPTextConfig", causal=True),
    "llama": TextFamily(
        model_class="LlamaModel",
        config_class="LlamaConfig",
        decoder=True,
        causal=True,
        has_end_token=False,
    ),
    "gemma2": TextFamily(
        model_class="Gemma2Model",
        config_class="Gemma2Config",
        decoder=True,
        causal=True,
        has_end_token=False,
    ),
    "qwen2.5-vl": TextFamily(
        model_class="Qwen2_5_VLTextModel",
        config_class="Qwen2_5_VLConfig",
        decoder=True,
        causal=True,
        has_end_token=False,
    ),
}
