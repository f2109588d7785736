"""The text encoders of recipes, in fp32, to be compared closely."""

from __future__ import annotations

from typing import Any

from energon_prep.recipes.load import load_recipe


def texts_of(name: str) -> list[dict[str, Any]]:
    """The text sections of the recipe of that name."""
    return [
        text.model_dump(mode="json") | {"dtype": "fp32", "compute_dtype": "fp32"}
        for text in load_recipe(name).text
    ]
