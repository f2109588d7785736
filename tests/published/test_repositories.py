from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from energon_prep.encoders.catalog import CATALOG
from energon_prep.encoders.weights import load_texts, load_visual
from energon_prep.recipes.load import load_recipe
from tests.published.repositories import PIPELINES, REPOSITORIES


def test_every_name_has_its_repository() -> None:
    assert {info.hf_id for info in CATALOG.values()} <= set(REPOSITORIES)


@pytest.mark.parametrize("preset", PIPELINES)
def test_a_pipeline_has_all_that_its_recipe_encodes_with(preset: str, repository: Callable[[str], Path]) -> None:
    recipe = load_recipe(preset)
    weights = PIPELINES[preset]
    repository(weights)
    assert load_visual(recipe, weights=weights, device="cpu").describe()["subfolder"] == "vae"
    for spec, encoder in zip(recipe.text, load_texts(recipe, weights=weights, device="cpu"), strict=True):
        first, second = encoder.encode(encoder.tokenize(["a cat", "a dog"]))
        for ours, theirs in ((first.hidden, second.hidden), (first.pooled, second.pooled)):
            assert ours is theirs is None or not torch.equal(ours, theirs), spec.name
