from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from energon_prep.encoders.base import TextEncoder
from energon_prep.encoders.catalog import CATALOG, TEXT_FAMILIES, ModelInfo
from tests.encoders.loading import load_texts
from tests.encoders.recipes import recipe
from tests.published import language_models, tokenizer_files
from tests.published.library_ids import library_ids

ALIASES = [alias for alias, info in CATALOG.items() if info.family in TEXT_FAMILIES]
CAPTIONS = [
    "a photo of a cat",
    "",
    "  blanks at the ends and   between ",
    "tabs\tand\r\nlines\n\n\nof text",
    "A CAPITAL, 12345.67 (and signs)!",
    "caf\u00e9 e\u0301 \u00c5ngstr\u00f6m \ufb01ne \uff21\uff22 \u2460",
    "\u732b\u304c\u5ea7\u3063\u3066\u3044\u308b \U0001f600\U0001f680",
    "zero\u200bwidth \u00a0 \u201cquotes\u201d \u2014 \u2581 \x07",
    "word " * 300,
]
CHAT = "<|im_start|>user\n{}<|im_end|>\n"
#: Where T5-XXL and UMT5-XXL are published: hub id -> the folder of the encoder.
T5_XXL = {
    "google/t5-v1_1-xxl": "",
    "google/flan-t5-xxl": "",
    "black-forest-labs/FLUX.1-dev": "text_encoder_2",
    "stabilityai/stable-diffusion-3-medium-diffusers": "text_encoder_3",
    "Lightricks/LTX-Video": "text_encoder",
    "zai-org/CogVideoX-5b": "text_encoder",
    "genmo/mochi-1-preview": "text_encoder",
}
UMT5_XXL = {
    "google/umt5-xxl": "",
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": "text_encoder",
    "Wan-AI/Wan2.2-T2V-A14B-Diffusers": "text_encoder",
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers": "text_encoder",
}
#: How the language model of Qwen2.5-VL is named and described in its files.
QWEN_FILES: dict[str, dict[str, Any]] = {
    "Qwen-Image": {},
    "Qwen2.5-VL-7B-Instruct": {"nested": False},
    "saved by transformers 4.52 and later": {"names": "nested"},
    "no vision tower": {"vision": False},
    "no vision tower, saved later": {"names": "nested", "vision": False},
}


def load(model: str | Path, **spec: Any) -> TextEncoder:
    return load_texts(recipe("sdxl", {"model": str(model), **spec}), weights=None, device="cpu")[0]


def embed(encoder: TextEncoder) -> list[torch.Tensor]:
    embeddings = encoder.encode(encoder.tokenize(CAPTIONS[:2]))
    return [value for e in embeddings for value in (e.hidden, e.pooled) if value is not None]


def tokenizer_folder(repository: Path, subfolder: str) -> Path:
    return repository / subfolder.replace("text_encoder", "tokenizer", 1)


@pytest.mark.parametrize("alias", ALIASES)
def test_a_text_encoder_loads_by_its_name_and_from_its_files(
    alias: str, repository: Callable[[str], Path]
) -> None:
    info: ModelInfo = CATALOG[alias]
    folder = repository(info.hf_id)
    spec = {"template": CHAT} if info.family == "qwen2.5-vl" else {}
    by_name, by_folder = load(alias, **spec), load(folder, subfolder=info.subfolder or None, **spec)
    ids = library_ids(tokenizer_folder(folder, info.subfolder))
    prompts = [spec.get("template", "{}").replace("{}", caption) for caption in CAPTIONS]
    assert (
        by_name.tokenize(CAPTIONS)
        == by_folder.tokenize(CAPTIONS)
        == [ids(prompt) for prompt in prompts]
    )
    for named, given in zip(embed(by_name), embed(by_folder), strict=True):
        assert torch.equal(named, given)
    assert (by_name.describe()["model"], by_folder.describe()["model"]) == (info.hf_id, str(folder))


@pytest.mark.parametrize("places", [T5_XXL, UMT5_XXL], ids=["t5-xxl", "umt5-xxl"])
def test_a_model_is_the_same_in_all_its_repositories(
    places: dict[str, str], repository: Callable[[str], Path]
) -> None:
    """Pickled and not, with a decoder and without, tokenized by sentencepiece's file and by
    tokenizers'.
    """
    (first, *others) = (
        load(repository(hf_id), subfolder=place or None) for hf_id, place in places.items()
    )
    for other in others:
        assert other.tokenize(CAPTIONS) == first.tokenize(CAPTIONS)
        for ours, theirs in zip(embed(other), embed(first), strict=True):
            assert torch.equal(ours, theirs)


def test_qwens_language_model_is_found_in_whatever_it_is_published_with(tmp_path: Path) -> None:
    found = []
    for name, layout in QWEN_FILES.items():
        folder = tmp_path / name
        language_models.qwen(folder, "qwen2.5-vl-7b", tokenizer_files.qwen(folder), **layout)
        found.append(embed(load(folder, template=CHAT)))
    for other in found[1:]:
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(other, found[0], strict=True))


def test_qwens_language_model_by_itself_is_that_of_hunyuan_video(
    repository: Callable[[str], Path],
) -> None:
    folder = repository("hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-480p_t2v")
    encoder = load(folder, template=CHAT)
    ids = library_ids(folder / "tokenizer")
    assert encoder.tokenize(CAPTIONS) == [ids(CHAT.replace("{}", caption)) for caption in CAPTIONS]
    assert encoder.describe()["class"] == "Qwen2_5_VLTextModel"
    assert all(value.isfinite().all() for value in embed(encoder))
