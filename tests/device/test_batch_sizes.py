from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch

from energon_prep.device.batch_sizes import (
    BatchSizes,
    best_pixels,
    best_size,
    best_tokens,
    given_sizes,
)
from energon_prep.errors import PrepError
from energon_prep.recipes.load import load_recipe
from tests.fakes import HashText, MeanVisual


def machine(*, fastest: int, most: int) -> Callable[[int], None]:
    """Runs batches the faster the nearer their size is to ``fastest``; has no memory for more than
    ``most``.
    """

    def run(size: int) -> None:
        if size > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        time.sleep(size * (0.002 if size <= fastest else 0.003) / min(size, fastest))

    return run


@pytest.mark.parametrize(
    ("fastest", "most", "expected"), [(1, 64, 1), (4, 64, 4), (64, 8, 8), (64, 1, 1)], ids=str
)
def test_the_fastest_size_that_fits_is_found(
    monkeypatch: pytest.MonkeyPatch, fastest: int, most: int, expected: int
) -> None:
    monkeypatch.setattr("energon_prep.device.batch_sizes._TRIAL_SECONDS", 0.02)
    assert best_size(machine(fastest=fastest, most=most)) == expected


def test_a_model_that_does_not_work_at_all_is_no_matter_of_size() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        best_size(machine(fastest=1, most=0))

    def broken(size: int) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        best_size(broken)


def test_each_kind_of_device_has_its_own() -> None:
    recipe = load_recipe("dit")
    cpu, cuda = given_sizes(recipe, "cpu"), given_sizes(recipe, "cuda:1")
    assert cpu.pixels < cuda.pixels
    assert cpu.tokens["t5"] < cuda.tokens["t5"]
    assert cpu.views(121, 720, 1280) == 1, "a clip that is larger than a batch is one"


def test_the_recipe_has_the_last_word() -> None:
    changes = {"visual.batch_pixels": 2 * 64 * 64, "text.batch_tokens": 7}
    sizes = given_sizes(load_recipe("dit", changes), "cuda")
    assert (sizes.views(1, 64, 64), sizes.views(1, 32, 64), sizes.tokens) == (2, 4, {"t5": 7})
    assert (
        given_sizes(load_recipe("dit", {**changes, "batch_size": 3}), "cuda").views(121, 720, 1280)
        == 3
    )


@pytest.mark.parametrize("value", [0, -1, "many", 2.5])
def test_other_batch_sizes_are_refused(value: object) -> None:
    with pytest.raises(PrepError, match="batch_size"):
        load_recipe("dit", {"batch_size": value})


def test_batches_are_tried_in_the_shape_they_will_have() -> None:
    visual = MeanVisual()
    assert best_pixels(visual, (5, 64, 96)) % (5 * 64 * 96) == 0
    assert {shape[1:] for shape in visual.batches} == {(5, 64, 96, 3)}


@pytest.mark.parametrize(("padding", "width"), [("max_length", 100), ("trim", 64)])
def test_captions_are_tried_in_the_length_they_will_have(padding: str, width: int) -> None:
    text = load_recipe("dit", {"text.max_tokens": 100, "text.padding": padding}).text[0]
    assert best_tokens(text, HashText(max_tokens=text.max_tokens)) % width == 0


def test_they_are_kept_as_plain_values() -> None:
    for samples in (None, 3):
        sizes = BatchSizes(pixels=1024, tokens={"t5": 512}, samples=samples)
        assert BatchSizes.parse(sizes.describe()) == sizes


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        {},
        {"pixels": 1},
        {"pixels": 0, "tokens": {}},
        {"pixels": 1, "tokens": {"t5": "x"}},
        {"tokens": {}},
        {"pixels": 1, "tokens": {}, "samples": -1},
    ],
    ids=str,
)
def test_damaged_ones_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="batch sizes"):
        BatchSizes.parse(value)
