"""Station 3, encoders: from a recipe's text section and its checkpoint to a loaded text encoder."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from energon_prep.encoders.base import TextEncoder
from energon_prep.encoders.checkpoint import Checkpoint, unusable
from energon_prep.encoders.dtypes import TORCH_DTYPES
from energon_prep.encoders.pretrained import loading, on_device, pretrained
from energon_prep.encoders.text import TransformersTextEncoder, check_working
from energon_prep.errors import PrepError
from energon_prep.recipes.model import Text


def load_text(spec: Text, checkpoint: Checkpoint, device: torch.device) -> TextEncoder:
    """Load one text encoder, frozen, on ``device``. Raises PrepError if it cannot be had or does not work."""
    dtype = TORCH_DTYPES[spec.dtype]
    if dtype is torch.float16 and checkpoint.family in ("t5", "umt5"):
        raise PrepError(f"text encoder {spec.name}: T5 and UMT5 overflow in fp16 (NaN or zeros): use bf16 or fp32")
    classes = {"t5": transformers.T5EncoderModel, "umt5": transformers.UMT5EncoderModel}
    with loading(checkpoint.source):
        model_class = classes.get(checkpoint.family, transformers.CLIPTextModel)
        model = on_device(pretrained(model_class, checkpoint, **{_dtype_argument(): dtype}), device)
        location, place = checkpoint.pretrained(checkpoint.tokenizer or checkpoint.main)
        # With the model's config, which is not looked for in the tokenizer's own subfolder of a repository then.
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            location, config=model.config, trust_remote_code=False, **place
        )
    _check_fit(spec, checkpoint, model, tokenizer)
    encoder = TransformersTextEncoder(
        name=spec.name,
        model=model,
        tokenizer=tokenizer,
        family=checkpoint.family,
        max_tokens=spec.max_tokens,
        keep_padding=spec.padding == "max_length",
        attention_mask=spec.attention_mask,
        dtype=dtype,
        device=device,
        about=checkpoint.describe(),
    )
    check_working(encoder)
    return encoder


def _check_fit(spec: Text, checkpoint: Checkpoint, model: Any, tokenizer: Any) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise unusable(checkpoint.source, f"its tokenizer has {len(tokenizer)} tokens, the model only {rows}")
    positions: int | None = (
        getattr(model.config, "max_position_embeddings", None) if checkpoint.family == "clip" else None
    )
    if positions is not None and spec.max_tokens > positions:
        raise PrepError(
            f"text encoder {spec.name}: max_tokens is {spec.max_tokens}, and CLIP has {positions} positions"
        )


def _dtype_argument() -> str:
    """transformers renamed it in 4.56."""
    major, minor = (int(part) for part in transformers.__version__.split(".")[:2])
    return "dtype" if (major, minor) >= (4, 56) else "torch_dtype"
