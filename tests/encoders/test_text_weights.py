from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from energon_prep.demo.tiny import build_pipeline
from energon_prep.encoders.base import TextEncoder
from energon_prep.encoders.catalog import CATALOG
from energon_prep.encoders.text_families import TEXT_FAMILY
from energon_prep.errors import PrepError
from tests.encoders.loading import load_texts
from tests.encoders.recipes import recipe
from tests.encoders.text_models import whole_clip

CHAT = {"template": "<|im_start|>user\n{}<|im_end|>\n"}


def load(model: Path | str, **spec: Any) -> TextEncoder:
    weights = "tiny" if isinstance(model, str) else None
    return load_texts(recipe("sdxl", {"model": str(model), **spec}), weights=weights, device="cpu")[
        0
    ]


def embed(encoder: TextEncoder) -> list[torch.Tensor]:
    (embedding,) = encoder.encode(encoder.tokenize(["a photo of a cat"]))
    return [value for value in (embedding.hidden, embedding.pooled) if value is not None]


def tiny(model: str, folder: Path) -> Path:
    """A copy of the tiny model with its tokenizer beside it, as a model's own repository is laid
    out.
    """
    built = build_pipeline(recipe("sdxl", {"model": model}), "tiny")
    shutil.copytree(built / "text_encoder", folder)
    shutil.copytree(built / "tokenizer", folder, dirs_exist_ok=True)
    return folder


@pytest.mark.parametrize(
    ("model", "whole_class"),
    [
        ("llama-3-8b-hunyuan", transformers.LlamaForCausalLM),
        ("gemma-2-2b-it", transformers.Gemma2ForCausalLM),
    ],
)
def test_a_language_model_serves_without_its_head(
    model: str, whole_class: Any, tmp_path: Path
) -> None:
    folder = tiny(model, tmp_path / "model")
    expected = embed(load(folder))
    whole = whole_class(transformers.AutoConfig.from_pretrained(folder))
    whole.model.load_state_dict(load_file(folder / "model.safetensors"))
    whole.save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["architectures"] == [
        whole_class.__name__
    ]
    assert torch.equal(embed(load(folder))[0], expected[0])


def test_a_projection_comes_from_a_whole_clip_model_too(tmp_path: Path) -> None:
    folder = tiny("clip-g", tmp_path / "model")
    expected = embed(load(folder, projection=True))[1]
    text = transformers.CLIPTextModelWithProjection.from_pretrained(folder)
    whole = whole_clip(text, projection_dim=1280)
    whole.text_model.load_state_dict(text.text_model.state_dict())
    whole.text_projection.load_state_dict(text.text_projection.state_dict())
    whole.save_pretrained(folder)
    torch.testing.assert_close(embed(load(folder, projection=True))[1], expected)


def test_a_model_without_its_projection_is_refused(tmp_path: Path) -> None:
    folder = tiny("clip-l", tmp_path / "model")
    state = load_file(folder / "model.safetensors")
    del state["text_projection.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    load(folder)
    with pytest.raises(
        PrepError, match=r"weights lack 1 tensors of the model: text_projection\.weight"
    ):
        load(folder, projection=True)


@pytest.mark.parametrize(
    ("model", "spec", "complaint"),
    [
        (
            "t5-small",
            {"output": "pooled"},
            "T5EncoderModel has neither a pooled output nor a text projection",
        ),
        (
            "gemma-2-2b-it",
            {"projection": True},
            "Gemma2Model has neither a pooled output nor a text projection",
        ),
        (
            "gemma-2-2b-it",
            {"hidden_layer": -4},
            "hidden_layer is -4, and Gemma2Model has 3 hidden states: -1 to -3",
        ),
        (
            "clip-l",
            {"hidden_layer": -9},
            "hidden_layer is -9, and CLIPTextModel has 3 hidden states",
        ),
        ("clip-g", {"max_tokens": 78}, "max_tokens is 78, and CLIP has 77 positions"),
        (
            "qwen2.5-vl-7b",
            {},
            "nothing is left of the empty caption, which has 0 tokens: give the encoder a template",
        ),
        (
            "qwen2.5-vl-7b",
            {**CHAT, "drop_tokens": 9},
            "which has 5 tokens: .* a smaller drop_tokens",
        ),
    ],
)
def test_what_the_model_cannot_do_is_refused(
    model: str, spec: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(PrepError, match=complaint):
        load(model, **spec)


def test_a_tokenizer_without_an_end_token_is_refused(tmp_path: Path) -> None:
    folder = tiny("umt5-xxl", tmp_path / "model")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, "post_processor": None}))
    with pytest.raises(PrepError, match="does not end captions with an end token"):
        load(folder)


@pytest.mark.parametrize(
    ("alias", "billions"),
    [
        ("clip-g", 0.693),
        ("clip-h-dfn5b", 0.353),
        ("llama-3-8b-hunyuan", 7.505),
        ("gemma-2-2b-it", 2.614),
        ("umt5-xxl", 5.681),
    ],
)
def test_random_has_the_published_number_of_weights(alias: str, billions: float) -> None:
    info = CATALOG[alias]
    family = TEXT_FAMILY[info.family]
    config = getattr(transformers, family.config_class)(**info.published)
    with torch.device("meta"):
        model = getattr(transformers, family.model_class)(config)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e9 == pytest.approx(
        billions, abs=1e-3
    )


def test_files_of_openclip_alone_are_named(tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(
        PrepError, match=r"its files are OpenCLIP's .* a copy in the format of transformers"
    ):
        load(tmp_path)
