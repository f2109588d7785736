from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from energon_prep.demo.tiny import build_pipeline
from energon_prep.encoders.base import TextEncoder
from energon_prep.encoders.text import TransformersTextEncoder, check_working
from energon_prep.encoders.text_families import TEXT_FAMILY
from energon_prep.encoders.text_tokens import CaptionTokenizer
from energon_prep.errors import PrepError
from energon_prep.recipes.model import Recipe
from tests.encoders.loading import load_texts
from tests.encoders.recipes import FLUX1, recipe

CAPTIONS = ["a cat", "", "a photo of a dog in the rain", "red car " * 30]
FAMILIES: dict[str, dict[str, Any]] = {
    "t5": {"model": "t5-11b"},
    "umt5": {"model": "umt5-xxl"},
    "clip": {"model": "clip-l"},
    "clip-g": {"model": "clip-g", "projection": True, "hidden_layer": -2},
    "llama": {
        "model": "llama-3-8b-hunyuan",
        "template": "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>",
        "hidden_layer": -3,
    },
    "gemma2": {"model": "gemma-2-2b-it"},
    "qwen2.5-vl": {"model": "qwen2.5-vl-7b", "template": "<|im_start|>user\n{}<|im_end|>\n"},
}


def load(model: str, **spec: Any) -> TextEncoder:
    return load_texts(recipe("sdxl", {"model": model, **spec}), weights="tiny", device="cpu")[0]


@pytest.fixture(scope="module", params=list(FAMILIES))
def encoder(request: pytest.FixtureRequest) -> TextEncoder:
    return load(**FAMILIES[request.param])


def test_a_batch_gives_what_one_at_a_time_gives(encoder: TextEncoder) -> None:
    ids = encoder.tokenize(CAPTIONS)
    for together, tokens in zip(encoder.encode(ids), ids, strict=True):
        (alone,) = encoder.encode([tokens])
        torch.testing.assert_close(together.hidden, alone.hidden, rtol=1e-4, atol=1e-4)
        assert (together.num_tokens, together.truncated) == (alone.num_tokens, alone.truncated)
        assert (together.pooled is None) == (alone.pooled is None)
        if together.pooled is not None:
            torch.testing.assert_close(together.pooled, alone.pooled, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_holds_in_bf16_but_for_rounding(family: str) -> None:
    encoder = load(**FAMILIES[family], dtype="bf16", compute_dtype="bf16")
    ids = encoder.tokenize(CAPTIONS)
    for together, tokens in zip(encoder.encode(ids), ids, strict=True):
        (alone,) = encoder.encode([tokens])
        assert together.hidden.dtype == torch.bfloat16
        assert together.hidden.isfinite().all()
        assert 0.3 < together.hidden.float().std() < 3
        torch.testing.assert_close(together.hidden, alone.hidden, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("family", ["t5", "clip"])
def test_what_is_stored_is_rounded_after_the_model_computed(family: str) -> None:
    stored, computed = load(**FAMILIES[family], dtype="fp16"), load(**FAMILIES[family])
    about = stored.describe()
    assert (about["dtype"], about["model_dtype"]) == ("float16", "float32")
    for ours, exact in zip(
        *(encoder.encode(encoder.tokenize(CAPTIONS)) for encoder in (stored, computed)), strict=True
    ):
        assert torch.equal(ours.tokens, exact.tokens.half())
    assert load(**FAMILIES[family], compute_dtype=None).describe()["model_dtype"] == "bfloat16"


def test_batches_can_be_under_way_at_once(encoder: TextEncoder) -> None:
    ids = encoder.tokenize(CAPTIONS)
    pending = [encoder.launch(part) for part in (ids[:2], ids[2:])]
    second, first = [wait() for wait in reversed(pending)]
    for awaited, expected in zip(
        [*first, *second], [*encoder.encode(ids[:2]), *encoder.encode(ids[2:])], strict=True
    ):
        assert torch.equal(awaited.tokens, expected.tokens)
        assert (awaited.num_tokens, awaited.truncated) == (expected.num_tokens, expected.truncated)


def test_long_captions_are_cut_before_the_end_token(encoder: TextEncoder) -> None:
    ids = encoder.tokenize(CAPTIONS)
    short, empty, _, long = encoder.encode(ids)
    dropped = encoder.describe()["drop_tokens"]
    assert (len(ids[3]) > 16 + dropped, long.truncated, long.num_tokens, len(long.tokens)) == (
        True,
        True,
        16,
        16,
    )
    assert (short.truncated, short.num_tokens, len(short.tokens)) == (
        False,
        *[len(ids[0]) - dropped] * 2,
    )
    assert empty.num_tokens == len(ids[1]) - dropped <= 2
    ends = encoder.describe()["class"].startswith(("T5", "UMT5", "CLIP"))
    kept = [*ids[3][:15], ids[3][-1]] if ends else ids[3][: 16 + dropped]
    (expected,) = encoder.encode([kept])
    torch.testing.assert_close(long.hidden, expected.hidden, rtol=1e-4, atol=1e-4)


def test_every_result_is_an_ordinary_tensor_of_its_own(encoder: TextEncoder) -> None:
    for embedding in encoder.encode(encoder.tokenize(CAPTIONS)):
        hidden = embedding.tokens
        assert hidden.untyped_storage().nbytes() == hidden.numel() * hidden.element_size()
        assert not hidden.is_inference()


def test_the_same_captions_give_the_same_bits(encoder: TextEncoder) -> None:
    first, second = (encoder.encode(encoder.tokenize(CAPTIONS)) for _ in range(2))
    assert all(torch.equal(a.hidden, b.hidden) for a, b in zip(first, second, strict=True))


def test_different_captions_differ(encoder: TextEncoder) -> None:
    cat, dog = encoder.encode(encoder.tokenize(["a cat", "a dog"]))
    assert not torch.allclose(cat.hidden, dog.hidden)
    if cat.pooled is not None and dog.pooled is not None:
        assert not torch.allclose(cat.pooled, dog.pooled)


def test_long_captions_are_tokenized_without_a_warning(
    encoder: TextEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    transformers.utils.logging.enable_propagation()
    assert len(encoder.tokenize(["word " * 5000])[0]) > 5000
    transformers.utils.logging.disable_propagation()
    assert not caplog.records
    assert encoder.tokenize([]) == []


def test_what_the_recipe_does_not_want_is_not_there() -> None:
    for output, hidden, pooled in (
        ("both", True, True),
        ("hidden", True, False),
        ("pooled", False, True),
    ):
        clip = load("clip-l", output=output)
        (embedding,) = clip.encode(clip.tokenize(["a cat"]))
        assert (embedding.hidden is not None, embedding.pooled is not None) == (hidden, pooled)
        assert embedding.num_tokens == 4
    with pytest.raises(PrepError, match="the pooled one alone: set its output to hidden or both"):
        _ = embedding.tokens


def test_padding_outputs_can_be_stored_as_zeros() -> None:
    kept, zeroed = (
        load("t5-small", padding="max_length", zero_padding=zero) for zero in (False, True)
    )
    for with_padding, with_zeros in zip(
        *(e.encode(e.tokenize(CAPTIONS)) for e in (kept, zeroed)), strict=True
    ):
        num = with_zeros.num_tokens
        assert with_padding.tokens.shape == with_zeros.tokens.shape == (16, 512)
        assert torch.equal(with_padding.tokens[:num], with_zeros.tokens[:num])
        assert num == 16 or (with_padding.tokens[num:].any() and not with_zeros.tokens[num:].any())


def test_padding_after_a_template_fills_up_to_max_tokens() -> None:
    padded = load(**FAMILIES["qwen2.5-vl"], padding="max_length")
    trimmed = load(**FAMILIES["qwen2.5-vl"])
    for full, short in zip(
        *(e.encode(e.tokenize(CAPTIONS)) for e in (padded, trimmed)), strict=True
    ):
        assert full.tokens.shape == (16, 3584)
        torch.testing.assert_close(
            full.tokens[: short.num_tokens], short.tokens, rtol=1e-4, atol=1e-4
        )


def test_captions_are_cleaned_before_they_are_tokenized() -> None:
    plain, clean = load("t5-small"), load("t5-small", clean="wan")
    assert (
        clean.tokenize(["cats &amp;amp; dogs "])
        == clean.tokenize(["cats & dogs"])
        == plain.tokenize(["cats & dogs"])
    )
    assert plain.tokenize(["cats &amp;amp; dogs "]) != plain.tokenize(["cats & dogs"])
    assert (plain.describe()["clean"], clean.describe()["clean"]) == ("none", "wan")


def test_widths_are_those_of_the_published_models() -> None:
    t5, clip = load_texts(FLUX1, weights="tiny", device="cpu")
    assert [text.name for text in (t5, clip)] == ["t5", "clip"]
    (embedding,) = t5.encode(t5.tokenize(["a cat"]))
    assert (embedding.hidden.shape[1], embedding.pooled) == (4096, None)
    (embedding,) = clip.encode(clip.tokenize(["a cat"]))
    assert embedding.hidden.shape[1] == 768
    assert embedding.pooled is not None
    assert embedding.pooled.shape == (768,)
    assert (clip.describe()["width"], clip.describe()["class"]) == (768, "CLIPTextModel")


def of_transformers(model_class: Any, *, number: str = "") -> Any:
    """What the model of FLUX.1's pipeline itself makes of the captions, padded to 16 tokens and
    without a mask.
    """
    folder = build_pipeline(FLUX1, "tiny")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / f"tokenizer{number}")
    model = model_class.from_pretrained(folder / f"text_encoder{number}", dtype=torch.float32)
    tokens = tokenizer(
        CAPTIONS, padding="max_length", max_length=16, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        return model.eval()(tokens.input_ids)


def test_pooled_is_what_the_flux_pipeline_takes() -> None:
    clip = load_texts(FLUX1, weights="tiny", device="cpu")[1]
    expected = of_transformers(transformers.CLIPTextModel).pooler_output
    pooled = [embedding.pooled for embedding in clip.encode(clip.tokenize(CAPTIONS))]
    torch.testing.assert_close(torch.stack(pooled), expected, rtol=1e-4, atol=1e-4)


def test_kept_padding_without_a_mask_is_what_the_flux_pipeline_takes() -> None:
    t5 = load_texts(FLUX1, weights="tiny", device="cpu")[0]
    expected = of_transformers(transformers.T5EncoderModel, number="_2").last_hidden_state
    embeddings = t5.encode(t5.tokenize(CAPTIONS))
    torch.testing.assert_close(
        torch.stack([e.hidden for e in embeddings]), expected, rtol=1e-4, atol=1e-4
    )
    assert [e.num_tokens for e in embeddings] == [
        min(len(ids), 16) for ids in t5.tokenize(CAPTIONS)
    ]


def test_trimming_what_attended_to_padding_does_not_depend_on_the_batch() -> None:
    trimmed, kept = (
        load("t5-small", attention_mask=False, padding=padding)
        for padding in ("trim", "max_length")
    )
    ids = trimmed.tokenize(CAPTIONS)
    for tokens, full in zip(ids, kept.encode(ids), strict=True):
        (alone,) = trimmed.encode([tokens])
        torch.testing.assert_close(
            alone.hidden, full.hidden[: alone.num_tokens], rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize(
    ("fill", "complaint"),
    [(0.0, "the same embedding for different captions"), (float("nan"), "NaN or infinity")],
)
def test_a_model_that_says_nothing_is_refused(fill: float, complaint: str) -> None:
    folder = build_pipeline(UMT5_TINY, "tiny")
    model = transformers.UMT5EncoderModel.from_pretrained(
        folder / "text_encoder", dtype=torch.float32
    )
    # as an untied embedding table is
    torch.nn.init.constant_(model.get_input_embeddings().weight, fill)
    encoder = _encoder(model, transformers.AutoTokenizer.from_pretrained(folder / "tokenizer"))
    with pytest.raises(PrepError, match=f"UMT5EncoderModel.*{complaint}.*another release"):
        check_working(encoder)


UMT5_TINY: Recipe = recipe("sdxl", {"model": "umt5-xxl"})


def _encoder(model: Any, tokenizer: Any) -> TransformersTextEncoder:
    return TransformersTextEncoder(
        name="t5",
        model=model.eval(),
        captions=CaptionTokenizer(tokenizer=tokenizer, clean=str, max_tokens=16),
        family=TEXT_FAMILY["umt5"],
        dtype=torch.float32,
        device=torch.device("cpu"),
        about={},
    )
