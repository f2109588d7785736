from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from energon_prep.encoders.catalog import CATALOG
from energon_prep.encoders.downloads import plan_downloads
from energon_prep.encoders.locate import locate
from energon_prep.recipes.load import load_recipe, recipe_names
from tests.encoders.loading import load_texts, load_visual
from tests.published.repositories import REPOSITORIES


def test_every_name_has_its_repository() -> None:
    assert {info.hf_id for info in CATALOG.values()} <= set(REPOSITORIES)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_loads_as_it_stands(name: str, repository: Callable[[str], Path]) -> None:
    recipe = load_recipe(name)
    for source in locate(recipe, weights=None):
        repository(source.location)
    for download in plan_downloads(recipe, weights=None):
        assert (download.num_missing, download.problem) == (0, "")
    visual = load_visual(recipe, weights=None, device="cpu")
    assert visual.describe()["revision"] is not None
    for spec, encoder in zip(
        recipe.text, load_texts(recipe, weights=None, device="cpu"), strict=True
    ):
        first, second = encoder.encode(encoder.tokenize(["a cat", "a dog"]))
        for ours, theirs in ((first.hidden, second.hidden), (first.pooled, second.pooled)):
            assert ours is theirs is None or not torch.equal(ours, theirs), spec.name
