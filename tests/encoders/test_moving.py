"""Encoders on another device: ``meta`` has all a device has but values, and raises where one is
asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from energon_prep.encoders.base import TextEncoder, VisualEncoder
from energon_prep.errors import PrepError
from tests.encoders.loading import load_texts, load_visual
from tests.encoders.recipes import FLUX1, recipe
from tests.encoders.visual_models import ALIASES, SEEDS, pixels_of

TEXTS: dict[str, dict[str, Any]] = {
    "t5": {"model": "t5-11b"},
    "umt5": {"model": "umt5-xxl"},
    "clip": {"model": "clip-l", "projection": True},
    "llama": {"model": "llama-3-8b-hunyuan"},
    "gemma2": {"model": "gemma-2-2b-it"},
    "qwen2.5-vl": {"model": "qwen2.5-vl-7b", "template": "<|im_start|>user\n{}<|im_end|>\n"},
}
CAPTIONS = ["a cat", "a photo of a dog in the rain"]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def visual(alias: str, *, device: str = "cpu", **spec: Any) -> VisualEncoder:
    return load_visual(
        recipe({"model": alias, **spec}, {"model": "t5-small"}), weights="tiny", device=device
    )


def text(*, device: str = "cpu", **spec: Any) -> TextEncoder:
    return load_texts(recipe("sdxl", spec), weights="tiny", device=device)[0]


def tensors_in(holder: object, seen: set[int]) -> Iterator[torch.Tensor]:
    """Every tensor that can be reached from ``holder`` through attributes and containers."""
    if id(holder) in seen:
        return
    seen.add(id(holder))
    if isinstance(holder, torch.Tensor):
        yield holder
    if isinstance(holder, torch.jit.ScriptModule):
        yield from (*holder.parameters(), *holder.buffers())
    elif isinstance(holder, dict):
        for value in holder.values():
            yield from tensors_in(value, seen)
    elif isinstance(holder, (list, tuple, set)):
        for value in holder:
            yield from tensors_in(value, seen)
    elif hasattr(holder, "__dict__") and not isinstance(holder, type):
        yield from tensors_in(vars(holder), seen)


def devices_of(encoder: object) -> dict[str, int]:
    """How many tensors ``encoder`` holds, by device."""
    found = [tensor.device.type for tensor in tensors_in(encoder, set())]
    return {device: found.count(device) for device in found}


def strides_of(encoder: object) -> list[tuple[int, ...]]:
    return [tensor.stride() for tensor in tensors_in(encoder, set())]


@pytest.mark.parametrize("alias", [*ALIASES, "cosmos-cv4x8x8"])
def test_all_that_a_visual_encoder_holds_moves_with_it(alias: str) -> None:
    encoder = visual(alias)
    held = devices_of(encoder)
    assert list(held) == ["cpu"]
    assert held["cpu"] > 10
    encoder.move_to("meta")
    assert list(devices_of(encoder)) == ["meta"]


@pytest.mark.parametrize("family", TEXTS)
def test_all_that_a_text_encoder_holds_moves_with_it(family: str) -> None:
    encoder = text(**TEXTS[family])
    held = devices_of(encoder)
    assert list(held) == ["cpu"]
    assert held["cpu"] > 10
    encoder.move_to(torch.device("meta"))
    assert list(devices_of(encoder)) == ["meta"]


@pytest.mark.parametrize("alias", ALIASES)
def test_a_visual_encoder_asks_its_device_for_no_value(alias: str) -> None:
    """A value would make the CPU wait for a CUDA device in the middle of a batch."""
    posterior = {} if alias in ("dc-ae", "cosmos1-cv8x8x8") else {"posterior": "sample"}
    encoder = visual(alias, **posterior)
    encoder.move_to("meta")
    assert callable(
        encoder.launch(pixels_of(encoder, 1 if encoder.temporal_factor is None else 3), SEEDS)
    )


@pytest.mark.parametrize("family", ["t5", "umt5", "clip"])
def test_a_text_encoder_asks_its_device_for_no_value(family: str) -> None:
    """Not so transformers' decoders, and masks of padding: it looks at their values once a
    batch.
    """
    encoder = text(**TEXTS[family], attention_mask=family == "clip")
    encoder.move_to("meta")
    assert callable(encoder.launch(encoder.tokenize(CAPTIONS)))


@pytest.mark.parametrize("alias", ["flux1", "wan2.1", "cosmos-cv4x8x8"])
def test_a_visual_encoder_works_as_before_when_it_comes_back(alias: str) -> None:
    encoder = visual(alias, compute_dtype="bf16" if alias == "cosmos-cv4x8x8" else "fp32")
    pixels = pixels_of(encoder)
    before, strides, about = encoder.encode(pixels, SEEDS), strides_of(encoder), encoder.describe()
    encoder.move_to("cpu")
    assert torch.equal(encoder.encode(pixels, SEEDS), before)
    assert strides_of(encoder) == strides
    assert encoder.describe() == about


def test_channels_last_weights_stay_so_on_another_device() -> None:
    encoder = visual("flux1")
    strides = strides_of(encoder)
    encoder.move_to("meta")
    assert strides_of(encoder) == strides
    kernels = [t for t in tensors_in(encoder, set()) if t.ndim == 4 and min(t.shape[1:3]) > 1]
    assert kernels
    assert all(t.is_contiguous(memory_format=torch.channels_last) for t in kernels)


def test_a_text_encoder_works_as_before_when_it_comes_back() -> None:
    encoder = text(**TEXTS["clip"])
    ids = encoder.tokenize(CAPTIONS)
    before = encoder.encode(ids)
    encoder.move_to("cpu")
    for now, then in zip(encoder.encode(ids), before, strict=True):
        assert torch.equal(now.tokens, then.tokens)
        assert torch.equal(now.pooled, then.pooled)


@pytest.mark.skipif(torch.cuda.is_available(), reason="is of machines without CUDA")
def test_a_device_that_is_not_there_is_refused() -> None:
    for encoder in (visual("flux1"), visual("cosmos-cv4x8x8"), text(**TEXTS["t5"])):
        with pytest.raises(PrepError, match="cuda"):
            encoder.move_to("cuda")


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("alias", ["flux1", "wan2.1", "cosmos-cv4x8x8"])
def test_a_visual_encoder_that_waited_on_the_cpu_gives_the_same_on_cuda(alias: str) -> None:
    encoder = visual(alias, device="cuda")
    pixels = pixels_of(encoder)
    before = encoder.encode(pixels, SEEDS)
    assert before.device.type == "cpu"
    encoder.move_to("cpu")
    assert list(devices_of(encoder)) == ["cpu"]
    encoder.move_to("cuda")
    assert torch.equal(encoder.encode(pixels, SEEDS), before)
    # TF32
    torch.testing.assert_close(before, visual(alias).encode(pixels, SEEDS), rtol=0.05, atol=0.05)


@pytest.mark.gpu
@needs_cuda
def test_flux_does_not_wait_for_the_device_before_it_has_to() -> None:
    encoder = load_visual(FLUX1, weights="tiny", device="cuda")
    pixels = pixels_of(encoder)
    texts = load_texts(FLUX1, weights="tiny", device="cuda")
    ids = [text.tokenize(CAPTIONS) for text in texts]
    expected = encoder.encode(pixels, SEEDS)  # kernels are chosen and pinned memory is there now
    embeddings = [text.encode(tokens) for text, tokens in zip(texts, ids, strict=True)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        latents = encoder.launch(pixels, SEEDS)
        pending = [text.launch(tokens) for text, tokens in zip(texts, ids, strict=True)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(latents(), expected)
    for wait, then in zip(pending, embeddings, strict=True):
        for a, b in zip(wait(), then, strict=True):
            assert torch.equal(a.tokens, b.tokens)
