"""Each recipe's text embeddings are what ``encode_prompt`` of the released model's own pipeline
gives.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import diffusers
import pytest
import torch
import transformers

from energon_prep.demo.tiny import build_pipeline
from energon_prep.encoders.base import TextEncoder
from energon_prep.encoders.clean import cleaner
from energon_prep.samples import TextEmbedding
from tests.encoders.loading import load_texts
from tests.encoders.recipes import recipe
from tests.encoders.text_recipes import texts_of
from tests.encoders.visual_models import vae_of

CAPTIONS = [
    "a photo of a red cat",
    "",
    "  Tom &amp;amp; Jerry \u2014 the  caf\u00c3\u00a9\n\nat NIGHT &lt;3 ",
    "A surfer rides a huge wave, 2 dogs (and 1 {boat}) " * 30,
]
MAX_TOKENS = 48  # enough to show what happens to captions that are shorter and longer
CPU = torch.device("cpu")

#: The part of Qwen2.5-VL's chat template that conversations of text alone get.
QWEN_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] "
    "}}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, kw_only=True)
class Both:
    """A recipe's text encoders, by model, and a pipeline of diffusers with the same weights."""

    encoders: dict[str, TextEncoder]
    pipeline: Any

    def embed(self, model: str) -> list[TextEmbedding]:
        encoder = self.encoders[model]
        return encoder.encode(encoder.tokenize(CAPTIONS))

    def hidden(self, model: str) -> torch.Tensor:
        """[B, S, D], which must be of equal length."""
        return torch.stack([embedding.tokens for embedding in self.embed(model)])

    def pooled(self, model: str) -> torch.Tensor:
        return torch.stack([embedding.pooled for embedding in self.embed(model)])


def load(name: str, pipeline_class: Any, **classes: Any) -> Both:
    """``classes``: of transformers, by the part of the pipeline that is loaded with them."""
    texts = [
        text if text["model"].startswith("clip") else text | {"max_tokens": MAX_TOKENS}
        for text in texts_of(name)
    ]
    spec = recipe("sdxl", *texts)
    folder = build_pipeline(spec, "tiny")
    parts = {}
    for part, model_class in classes.items():
        parts[part] = model_class.from_pretrained(folder / part, dtype=torch.float32).eval()
        tokenizer = part.replace("text_encoder", "tokenizer")
        parts[tokenizer] = transformers.AutoTokenizer.from_pretrained(folder / tokenizer)
    encoders = {
        text["model"]: e
        for text, e in zip(texts, load_texts(spec, weights="tiny", device="cpu"), strict=True)
    }
    return Both(encoders=encoders, pipeline=assemble(pipeline_class, parts))


def assemble(pipeline_class: Any, parts: dict[str, Any]) -> Any:
    if pipeline_class is diffusers.CosmosTextToWorldPipeline:
        # which is not made without its guardrail models
        pipeline = object.__new__(pipeline_class)
        pipeline.__dict__.update(parts)
        return pipeline
    if pipeline_class is diffusers.HunyuanVideo15Pipeline:
        others = ("scheduler", "transformer", "guider", "text_encoder_2", "tokenizer_2")
        return pipeline_class(vae=vae_of("hunyuan-video-1.5"), **dict.fromkeys(others), **parts)
    denoiser = "unet" if pipeline_class is diffusers.StableDiffusionXLPipeline else "transformer"
    return pipeline_class(vae=None, scheduler=None, **{denoiser: None}, **parts)


def zero_padded(embeddings: list[TextEmbedding], length: int) -> torch.Tensor:
    hiddens = [embedding.tokens for embedding in embeddings]
    return torch.stack([torch.cat([h, h.new_zeros(length - len(h), h.shape[1])]) for h in hiddens])


def assert_same_where_masked(
    ours: list[TextEmbedding], theirs: torch.Tensor, mask: torch.Tensor
) -> None:
    """``theirs`` [B, S, D] with its ``mask`` [B, S], which the transformer gets too."""
    assert [embedding.num_tokens for embedding in ours] == mask.sum(1).tolist()
    assert [len(embedding.tokens) for embedding in ours] == mask.sum(1).tolist()
    assert_same(zero_padded(ours, theirs.shape[1]), theirs * mask[:, :, None])


def assert_same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert theirs.shape[0] == len(CAPTIONS)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.fixture(autouse=True)
def _no_gradients() -> Any:
    with torch.no_grad():
        yield


@pytest.mark.parametrize(
    ("name", "model", "pipeline_class", "model_class"),
    [
        ("wan2.1", "umt5-xxl", diffusers.WanPipeline, transformers.UMT5EncoderModel),
        ("wan2.2-ti2v-5b", "umt5-xxl", diffusers.WanPipeline, transformers.UMT5EncoderModel),
        ("wan2.2", "umt5-xxl", diffusers.WanPipeline, transformers.UMT5EncoderModel),
        ("cosmos-dit", "t5-11b", diffusers.CosmosTextToWorldPipeline, transformers.T5EncoderModel),
    ],
)
def test_trimmed_and_padded_with_zeros(
    name: str, model: str, pipeline_class: Any, model_class: Any
) -> None:
    both = load(name, pipeline_class, text_encoder=model_class)
    theirs, _ = both.pipeline.encode_prompt(
        CAPTIONS,
        do_classifier_free_guidance=False,
        max_sequence_length=MAX_TOKENS,
        device=CPU,
        dtype=torch.float32,
    )
    assert_same(zero_padded(both.embed(model), MAX_TOKENS), theirs)


@pytest.mark.parametrize(
    ("name", "pipeline_class"),
    [("ltx-video", diffusers.LTXPipeline), ("mochi", diffusers.MochiPipeline)],
)
def test_t5_with_a_mask_for_the_transformer(name: str, pipeline_class: Any) -> None:
    both = load(name, pipeline_class, text_encoder=transformers.T5EncoderModel)
    theirs, mask, _, _ = both.pipeline.encode_prompt(
        CAPTIONS, do_classifier_free_guidance=False, max_sequence_length=MAX_TOKENS, device=CPU
    )
    assert_same_where_masked(both.embed("t5-xxl"), theirs, mask)


def test_cogvideox() -> None:
    both = load("cogvideox", diffusers.CogVideoXPipeline, text_encoder=transformers.T5EncoderModel)
    theirs, _ = both.pipeline.encode_prompt(
        CAPTIONS, do_classifier_free_guidance=False, max_sequence_length=MAX_TOKENS, device=CPU
    )
    assert_same(both.hidden("t5-xxl"), theirs)


@pytest.mark.parametrize("name", ["flux1", "primus-flux", "mlperf-flux"])
def test_flux(name: str) -> None:
    classes = {
        "text_encoder": transformers.CLIPTextModel,
        "text_encoder_2": transformers.T5EncoderModel,
    }
    both = load(name, diffusers.FluxPipeline, **classes)
    hidden, pooled, _ = both.pipeline.encode_prompt(
        CAPTIONS, None, device=CPU, max_sequence_length=MAX_TOKENS
    )
    assert_same(both.hidden("t5-xxl"), hidden)
    assert_same(both.pooled("clip-l"), pooled)
    assert all(embedding.hidden is None for embedding in both.embed("clip-l"))


def test_sd3() -> None:
    clip = transformers.CLIPTextModelWithProjection
    classes = {
        "text_encoder": clip,
        "text_encoder_2": clip,
        "text_encoder_3": transformers.T5EncoderModel,
    }
    both = load("sd3", diffusers.StableDiffusion3Pipeline, **classes)
    hidden, _, pooled, _ = both.pipeline.encode_prompt(
        CAPTIONS,
        None,
        None,
        device=CPU,
        do_classifier_free_guidance=False,
        max_sequence_length=MAX_TOKENS,
    )
    clips = torch.cat([both.hidden("clip-l"), both.hidden("clip-g")], -1)  # [B, 77, 768 + 1280]
    clips = torch.nn.functional.pad(clips, (0, 4096 - clips.shape[-1]))
    assert_same(torch.cat([clips, both.hidden("t5-xxl")], -2), hidden)
    assert_same(torch.cat([both.pooled("clip-l"), both.pooled("clip-g")], -1), pooled)


def test_sdxl() -> None:
    classes = {
        "text_encoder": transformers.CLIPTextModel,
        "text_encoder_2": transformers.CLIPTextModelWithProjection,
    }
    both = load("sdxl", diffusers.StableDiffusionXLPipeline, **classes)
    hidden, _, pooled, _ = both.pipeline.encode_prompt(
        CAPTIONS, device=CPU, do_classifier_free_guidance=False
    )
    assert_same(torch.cat([both.hidden("clip-l"), both.hidden("clip-g")], -1), hidden)
    assert_same(both.pooled("clip-g"), pooled)


def test_microdit() -> None:
    """No pipeline: OpenCLIP cleans captions as Wan does, pads with 0 and cuts before the end
    token.
    """
    texts = texts_of("microdit")
    (encoder,) = load_texts(recipe("sdxl", *texts), weights="tiny", device="cpu")
    folder = build_pipeline(recipe("sdxl", *texts), "tiny")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "tokenizer")
    model = transformers.CLIPTextModel.from_pretrained(
        folder / "text_encoder", dtype=torch.float32
    ).eval()
    ids = [tokenizer(cleaner("wan")(caption)).input_ids for caption in CAPTIONS]
    ids = [[*tokens[:76], tokenizer.eos_token_id] if len(tokens) > 77 else tokens for tokens in ids]
    batch = torch.tensor([tokens + [0] * (77 - len(tokens)) for tokens in ids])
    ours = encoder.encode(encoder.tokenize(CAPTIONS))
    assert_same(
        torch.stack([embedding.tokens for embedding in ours]), model(batch).last_hidden_state
    )
    assert ours[0].tokens.shape == (77, 1024)


def test_hunyuan_video() -> None:
    classes = {
        "text_encoder": transformers.LlamaModel,
        "text_encoder_2": transformers.CLIPTextModel,
    }
    both = load("hunyuan-video", diffusers.HunyuanVideoPipeline, **classes)
    hidden, pooled, mask = both.pipeline.encode_prompt(
        CAPTIONS, device=CPU, max_sequence_length=MAX_TOKENS
    )
    assert_same_where_masked(both.embed("llama-3-8b-hunyuan"), hidden, mask)
    assert_same(both.pooled("clip-l"), pooled)


def test_qwen_image() -> None:
    classes = {"text_encoder": transformers.Qwen2_5_VLForConditionalGeneration}
    both = load("qwen-image", diffusers.QwenImagePipeline, **classes)
    both.pipeline.tokenizer_max_length = MAX_TOKENS
    hidden, mask = both.pipeline.encode_prompt(CAPTIONS, device=CPU)
    assert_same_where_masked(both.embed("qwen2.5-vl-7b"), hidden, mask)


def test_sana() -> None:
    """With its instruction, but for the empty caption, which is the pipeline's negative prompt."""
    both = load("sana", diffusers.SanaPipeline, text_encoder=transformers.Gemma2Model)
    instruction = (
        inspect.signature(diffusers.SanaPipeline.__call__)
        .parameters["complex_human_instruction"]
        .default
    )
    assert len(instruction) == 8
    hidden, mask, negative, negative_mask = both.pipeline.encode_prompt(
        CAPTIONS, device=CPU, max_sequence_length=MAX_TOKENS, complex_human_instruction=instruction
    )
    empty = CAPTIONS.index("")
    hidden[empty], mask[empty] = negative[empty], negative_mask[empty]
    assert_same_where_masked(both.embed("gemma-2-2b-it"), hidden, mask)


def test_hunyuan_video_15() -> None:
    """But for ByT5, of which captions without text in quotes get zeros and a mask of zeros."""
    by_t5 = transformers.T5EncoderModel(
        transformers.T5Config(d_model=1472, d_ff=8, d_kv=8, num_layers=1, num_heads=1)
    )
    classes = {"text_encoder": transformers.Qwen2_5_VLForConditionalGeneration}
    both = load("hunyuan-video-1.5", diffusers.HunyuanVideo15Pipeline, **classes)
    both.pipeline.register_modules(
        text_encoder=both.pipeline.text_encoder.model.language_model,
        text_encoder_2=by_t5,
        tokenizer_2=None,
    )
    both.pipeline.tokenizer.chat_template = QWEN_CHAT
    assert [text["max_tokens"] for text in texts_of("hunyuan-video-1.5")] == [
        both.pipeline.tokenizer_max_length
    ]
    both.pipeline.tokenizer_max_length = MAX_TOKENS
    hidden, mask, glyphs, glyph_mask = both.pipeline.encode_prompt(
        CAPTIONS, device=CPU, batch_size=len(CAPTIONS)
    )
    assert_same_where_masked(both.embed("qwen2.5-vl-7b"), hidden, mask)
    assert glyphs.shape == (len(CAPTIONS), 256, 1472)
    assert not glyphs.any()
    assert not glyph_mask.any()


@pytest.mark.parametrize("name", ["hunyuan-video", "hunyuan-video-1.5", "qwen-image"])
def test_what_is_dropped_of_a_template_is_what_precedes_the_caption(name: str) -> None:
    """The pipelines' numbers, 95, 108 and 34, which the tokenizer's own count confirms."""
    text = texts_of(name)[0]
    (stated, counted) = (
        load_texts(recipe("sdxl", text | change), weights="tiny", device="cpu")[0].describe()[
            "drop_tokens"
        ]
        for change in ({}, {"drop_tokens": None})
    )
    assert stated == counted == text["drop_tokens"]


@pytest.mark.parametrize(
    ("name", "pipeline_class"),
    [
        ("cogvideox", diffusers.CogVideoXPipeline),
        ("cosmos-dit", diffusers.CosmosTextToWorldPipeline),
        ("flux1", diffusers.FluxPipeline),
        ("hunyuan-video", diffusers.HunyuanVideoPipeline),
        ("ltx-video", diffusers.LTXPipeline),
        ("mochi", diffusers.MochiPipeline),
        ("primus-flux", diffusers.FluxPipeline),
        ("qwen-image", diffusers.QwenImagePipeline),
        ("sana", diffusers.SanaPipeline),
        ("sd3", diffusers.StableDiffusion3Pipeline),
        ("wan2.1", diffusers.WanPipeline),
        ("wan2.2", diffusers.WanPipeline),
        ("wan2.2-ti2v-5b", diffusers.WanPipeline),
    ],
)
def test_captions_are_as_long_as_the_pipeline_is_called_with(
    name: str, pipeline_class: Any
) -> None:
    length = inspect.signature(pipeline_class.__call__).parameters["max_sequence_length"].default
    assert {t["max_tokens"] for t in texts_of(name) if not t["model"].startswith("clip")} == {
        length
    }
