"""From a recipe's text section and its checkpoint to a loaded text encoder."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from energon_prep.encoders.base import TextEncoder
from energon_prep.encoders.checkpoint import Checkpoint, unusable
from energon_prep.encoders.clean import cleaner
from energon_prep.encoders.compiling import Probe, compile_model
from energon_prep.encoders.dtypes import TORCH_DTYPES, compute_dtype
from energon_prep.encoders.pretrained import loading, on_device, pretrained
from energon_prep.encoders.text import TransformersTextEncoder, check_working
from energon_prep.encoders.text_families import TEXT_FAMILY
from energon_prep.encoders.text_tokenizer import load_tokenizer
from energon_prep.encoders.text_tokens import CaptionTokenizer
from energon_prep.errors import PrepError
from energon_prep.recipes.model import Text

#: Qwen2.5-VL's language model has these names before those of its own parts, or none; the vision
#: tower is not read.
_LANGUAGE_MODEL = {r"^(model\.)?language_model\.": "", r"^model\.(?!visual\.)": ""}


def load_text(spec: Text, checkpoint: Checkpoint, device: torch.device) -> TextEncoder:
    """Load one text encoder, frozen, on ``device``. Raises PrepError if it cannot be had or does
    not work.
    """
    family = TEXT_FAMILY[checkpoint.family]
    _check_family(spec, checkpoint)
    clean = cleaner(spec.clean)
    with loading(checkpoint.source):
        model = on_device(
            _load_model(
                spec, checkpoint, compute_dtype(spec.compute_dtype or family.compute_dtype, device)
            ),
            device,
        )
        tokenizer = load_tokenizer(checkpoint, model)
    _check_model(spec, checkpoint, model, tokenizer)
    captions = CaptionTokenizer(
        tokenizer=tokenizer,
        clean=clean,
        max_tokens=spec.max_tokens,
        template=spec.template,
        drop_tokens=spec.drop_tokens,
        keep_start_token=spec.keep_start_token,
        empty_caption=spec.empty_caption,
        empty_template=spec.empty_template,
        pad_token=spec.pad_token,
    )
    _check_captions(spec, checkpoint, model, captions)
    encoder = TransformersTextEncoder(
        name=spec.name,
        model=model,
        captions=captions,
        family=family,
        dtype=TORCH_DTYPES[spec.dtype],
        device=device,
        about={**checkpoint.describe(), "clean": spec.clean, "compile": spec.compile},
        keep_padding=spec.padding == "max_length",
        attention_mask=spec.attention_mask,
        zero_padding=spec.zero_padding,
        hidden_layer=spec.hidden_layer,
        output=spec.output,
    )
    if spec.compile:
        field = f"text.{spec.name}.compile"
        compile_model(
            model, _probes(encoder, spec.max_tokens), what=f"text encoder {spec.name}", field=field
        )
    check_working(encoder)
    return encoder


def _probes(encoder: TextEncoder, max_tokens: int) -> list[Probe]:
    """Batches and single captions, which a compiler tells apart, of half the tokens there may
    be.
    """
    (ids,) = encoder.tokenize(["a photo of a cat " * max_tokens])
    ids = ids[: max(len(ids[:max_tokens]) // 2, 2)]

    def probe(num: int) -> Probe:
        return lambda: [
            value
            for e in encoder.launch([ids] * num)()
            for value in (e.hidden, e.pooled)
            if value is not None
        ]

    return [probe(4), probe(1)]


def _check_family(spec: Text, checkpoint: Checkpoint) -> None:
    family = TEXT_FAMILY[checkpoint.family]
    if spec.compute_dtype == "fp16" and not family.fp16:
        raise PrepError(
            f"text encoder {spec.name}: T5 and UMT5 overflow in fp16 (NaN or zeros): use bf16 "
            "or fp32"
        )
    if checkpoint.family != "clip" and (spec.output == "pooled" or spec.projection):
        raise PrepError(
            f"text encoder {spec.name}: {family.model_class} has neither a pooled output nor "
            "a text projection, as CLIP has: set output to hidden and projection to false"
        )


def _load_model(spec: Text, checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
    name = (
        "CLIPTextModelWithProjection"
        if spec.projection
        else TEXT_FAMILY[checkpoint.family].model_class
    )
    model_class = getattr(transformers, name, None)
    if model_class is None:
        raise PrepError(
            f"text encoder {spec.name} is a {name}, which transformers "
            f"{transformers.__version__} does not have: pip install --upgrade transformers"
        )
    options: dict[str, Any] = {_dtype_argument(): dtype}
    if checkpoint.family == "qwen2.5-vl":
        options |= {"config": _language_config(checkpoint.config), "key_mapping": _LANGUAGE_MODEL}
    return pretrained(model_class, checkpoint, **options)


def _language_config(config: dict[str, Any]) -> Any:
    """Of a whole Qwen2.5-VL, whose language model is described at the top or in a section, or of
    that by itself.
    """
    if config["model_type"] == "qwen2_5_vl_text":
        return transformers.Qwen2_5_VLTextConfig.from_dict(config)
    return transformers.Qwen2_5_VLConfig.from_dict(config).text_config


def _check_model(spec: Text, checkpoint: Checkpoint, model: Any, tokenizer: Any) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise unusable(
            checkpoint.source, f"its tokenizer has {len(tokenizer)} tokens, the model only {rows}"
        )
    states = model.config.num_hidden_layers + 1
    if -spec.hidden_layer > states:
        raise PrepError(
            f"text encoder {spec.name}: hidden_layer is {spec.hidden_layer}, and "
            f"{type(model).__name__} has {states} hidden states: -1 to -{states}"
        )


def _check_captions(
    spec: Text, checkpoint: Checkpoint, model: Any, captions: CaptionTokenizer
) -> None:
    positions = (
        model.config.max_position_embeddings if checkpoint.family == "clip" else captions.width
    )
    if captions.width > positions:
        raise PrepError(
            f"text encoder {spec.name}: max_tokens is {captions.width}, and CLIP has "
            f"{positions} positions"
        )
    if TEXT_FAMILY[checkpoint.family].has_end_token and not captions.has_end_token:
        raise PrepError(
            f"text encoder {spec.name}: its tokenizer does not end captions with an end token; "
            "install the transformers release the checkpoint was made with, or another copy "
            "of the tokenizer"
        )
    (empty,) = captions.tokenize([""])
    if not captions.num_stored(len(empty)):
        raise PrepError(
            f"text encoder {spec.name}: nothing is left of the empty caption, which has "
            f"{len(empty)} tokens: give the encoder a template, or a smaller drop_tokens"
        )
    if spec.drop_tokens is not None:
        captions.warn_of_template(spec.name)


def _dtype_argument() -> str:
    """transformers renamed it in 4.56."""
    major, minor = (int(part) for part in transformers.__version__.split(".")[:2])
    return "dtype" if (major, minor) >= (4, 56) else "torch_dtype"
