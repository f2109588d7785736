"""The text encoders of recipes, and of variants that are no recipes; in fp32, to be compared closely."""

from __future__ import annotations

from typing import Any

from energon_prep.recipes.load import load_recipe

SANA_INSTRUCTION = [
    "Given a user prompt, generate an 'Enhanced prompt' with details of colors, shapes and textures:",
    "- User Prompt: A cat sleeping -> Enhanced: A small, fluffy white cat on a warm sunny windowsill.",
    "User Prompt: ",
]

_CLIP_STATES = {"max_tokens": 77, "padding": "max_length", "attention_mask": False, "hidden_layer": -2}

VARIANTS: dict[str, list[dict[str, Any]]] = {
    # Of the released Stable Diffusion XL; the recipe sdxl has MicroDiT's encoder.
    "stable-diffusion-xl": [
        {"name": "clip_l", "model": "clip-l", **_CLIP_STATES, "output": "hidden"},
        {"name": "clip_g", "model": "clip-g", **_CLIP_STATES, "projection": True},
    ],
    "dc-ae instructed": [
        {
            "name": "gemma",
            "model": "gemma-2-2b-it",
            "max_tokens": 300,
            "clean": "lower",
            "template": "\n".join(SANA_INSTRUCTION) + "{}",
            "keep_start_token": True,
        },
    ],
}


def texts_of(name: str) -> list[dict[str, Any]]:
    """The text sections of the recipe, or of the variant, of that name."""
    if name in VARIANTS:
        return VARIANTS[name]
    return [
        text.model_dump(mode="json") | {"dtype": "fp32", "compute_dtype": "fp32"} for text in load_recipe(name).text
    ]
