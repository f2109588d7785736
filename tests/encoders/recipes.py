"""Recipes for tests of the encoders."""

from __future__ import annotations

from typing import Any

from energon_prep.recipes.model import Recipe, Text, Visual


def recipe(visual: str | dict[str, Any], *texts: dict[str, Any]) -> Recipe:
    """A recipe of these encoders; in fp32, so that results can be compared closely, unless they say
    otherwise.
    """
    spec = {"model": visual} if isinstance(visual, str) else visual
    return Recipe(
        name="test",
        target="dit",
        visual=Visual(**{"dtype": "fp32", "compute_dtype": "fp32", **spec}),
        text=tuple(
            Text(
                **{"name": "t5", "dtype": "fp32", "compute_dtype": "fp32", "max_tokens": 16, **text}
            )
            for text in texts
        ),
    )


DIT = recipe("cosmos-cv4x8x8", {"model": "t5-11b"})
FLUX1 = recipe(
    "flux1",
    {
        "model": "t5-xxl",
        "subfolder": "text_encoder_2",
        "padding": "max_length",
        "attention_mask": False,
    },
    {"name": "clip", "model": "clip-l", "subfolder": "text_encoder"},
)
UMT5 = recipe("sdxl", {"model": "umt5-xxl"})
SMALL = recipe("sd-mse", {"model": "t5-small"})
