from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import T5Config, T5EncoderModel

from energon_prep.encoders import compiling
from energon_prep.encoders.base import TextEncoder, VisualEncoder
from energon_prep.encoders.compiling import compile_model
from energon_prep.errors import PrepError
from energon_prep.recipes.model import Resize
from tests.encoders.loading import load_texts, load_visual
from tests.encoders.recipes import recipe

SHAPES = [(64, 64), (48, 80), (80, 48), (64, 96), (96, 64)]
BATCHES = [8, 4, 2, 1]
Graph = Any


class Counting:
    """Stands in for the compiler: gives back each graph as it is, or changed, and counts them."""

    def __init__(
        self, change: Callable[[Graph], Callable[..., Any]] = lambda graph: graph.forward
    ) -> None:
        self.num = 0
        self._change = change

    def __call__(self, graph: Graph, inputs: object) -> Callable[..., Any]:
        self.num += 1
        return self._change(graph)


@pytest.fixture(autouse=True)
def nothing_compiled_before() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    backend = Counting()
    monkeypatch.setattr(compiling, "backend", backend)
    return backend


def visual(model: str = "sd-mse", **spec: Any) -> VisualEncoder:
    small = recipe({"model": model, **spec}, {"model": "t5-small"})
    return load_visual(
        small.model_copy(update={"resize": Resize(resolution=(64, 64))}),
        weights="tiny",
        device="cpu",
    )


def text(**spec: Any) -> TextEncoder:
    return load_texts(recipe("sdxl", {"model": "t5-small", **spec}), weights="tiny", device="cpu")[
        0
    ]


def failing(graph: Graph) -> Callable[..., Any]:
    raise RuntimeError("no working C++ compiler was found")


def test_images_of_all_sizes_and_batches_take_two_compilations(counting: Counting) -> None:
    eager, compiled = visual(), visual(compile=True)
    assert counting.num == 2
    assert (eager.describe()["compile"], compiled.describe()["compile"]) == (False, True)
    for (height, width), num in itertools.product(SHAPES, BATCHES):
        pixels = torch.randint(0, 256, (num, 1, height, width, 3), dtype=torch.uint8)
        expected = eager.encode(pixels, range(num))
        torch.testing.assert_close(
            compiled.encode(pixels, range(num)), expected, rtol=1e-4, atol=1e-5
        )
    compiled.move_to("cpu")
    assert torch.equal(compiled.encode(pixels, [0]), compiled.encode(pixels, [0]))
    assert counting.num == 2


@pytest.mark.parametrize(
    "spec", [{}, {"model": "clip-l"}, {"padding": "max_length", "attention_mask": False}]
)
def test_captions_of_all_lengths_and_batches_take_two_compilations(
    counting: Counting, spec: dict[str, Any]
) -> None:
    eager, compiled = text(**spec), text(**spec, compile=True)
    assert counting.num == 2
    assert compiled.describe()["compile"]
    for length, num in itertools.product((2, 5, 9, 15, 40), BATCHES):
        ids = [[*(3 + (7 * i + j) % 50 for j in range(length - i % 2)), 1] for i in range(num)]
        for ours, expected in zip(compiled.encode(ids), eager.encode(ids), strict=True):
            torch.testing.assert_close(ours.tokens, expected.tokens, rtol=1e-4, atol=1e-5)
    assert counting.num == 2


def test_what_the_real_compiler_makes_gives_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    config = T5Config(d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, vocab_size=50)
    model = T5EncoderModel(config).eval().requires_grad_(False)

    def run(num: int, length: int) -> list[torch.Tensor]:
        ids = (torch.arange(num * length) % 50).view(num, length)
        mask = torch.arange(length) < torch.arange(length, length - num, -1)[:, None]
        with torch.inference_mode():
            return [model(input_ids=ids, attention_mask=mask.long()).last_hidden_state]

    expected = run(3, 11)
    compile_model(model, [lambda: run(2, 6)], what="text encoder t5", field="text.t5.compile")
    torch.testing.assert_close(run(3, 11), expected, rtol=1e-4, atol=1e-5)
    assert list(tmp_path.rglob("*.so")), "nothing was compiled"


def test_where_compiling_fails_it_is_said_how_to_go_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiling, "backend", Counting(failing))
    remedy = r"cannot be compiled: .*no working C\+\+ compiler was found .*use --set "
    with pytest.raises(PrepError, match=f"visual encoder 'sd-mse' {remedy}visual.compile=false"):
        visual(compile=True)
    with pytest.raises(PrepError, match=f"text encoder t5 {remedy}text.t5.compile=false"):
        text(compile=True)


def test_a_compiler_that_is_not_there_is_named_before_anything_is_encoded() -> None:
    model = torch.nn.SiLU()
    nowhere = torch._inductor.config.patch(
        {"cpp.cxx": (None, "no-such-compiler"), "force_disable_caches": True}
    )
    with (
        nowhere,
        pytest.raises(
            PrepError, match=r"the encoder cannot be compiled: .*--set visual.compile=false"
        ),
    ):
        compile_model(
            model, [lambda: [model(torch.ones(3, 2))]], what="encoder", field="visual.compile"
        )


def test_an_encoder_that_is_another_when_compiled_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def wrong(graph: Graph) -> Callable[..., Any]:
        return lambda *inputs: [value * 1.1 for value in graph.forward(*inputs)]

    monkeypatch.setattr(compiling, "backend", Counting(wrong))
    with pytest.raises(
        PrepError, match=r"gives other results when compiled .*off by 0\.1.*visual\.compile=false"
    ):
        visual(compile=True)


def test_nothing_runs_uncompiled_without_a_word(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "_MOST_VARIANTS", 1)
    with pytest.raises(
        PrepError, match=r"cannot be compiled: .*recompile_limit.*visual\.compile=false"
    ):
        visual(compile=True)


def test_torchscript_is_not_compiled() -> None:
    with pytest.raises(PrepError, match=r"'cosmos-cv4x8x8' is TorchScript.*visual\.compile=false"):
        visual("cosmos-cv4x8x8", compile=True)
