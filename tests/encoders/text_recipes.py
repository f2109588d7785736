"""The text encoders of recipes, and of variants that are no recipes; in fp32, to be compared closely."""

from __future__ import annotations

from typing import Any

from energon_prep.recipes.load import load_recipe, recipe_names

QWEN_TEMPLATE = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial "
    "relationships of the objects and background:<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)
HUNYUAN_TEMPLATE = (
    "<|start_header_id|>system<|end_header_id|>\n\nDescribe the video by detailing the following aspects: "
    "1. The main content and theme of the video."
    "2. The color, shape, size, texture, quantity, text, and spatial relationships of the objects."
    "3. Actions, events, behaviors temporal relationships, physical movement changes of the objects."
    "4. background environment, light, style and atmosphere."
    "5. camera angles, movements, and transitions used in the video:<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>"
)
SANA_INSTRUCTION = [
    "Given a user prompt, generate an 'Enhanced prompt' with details of colors, shapes and textures:",
    "- User Prompt: A cat sleeping -> Enhanced: A small, fluffy white cat on a warm sunny windowsill.",
    "User Prompt: ",
]

_PADDED = {"padding": "max_length", "attention_mask": False}  # padding outputs are used, and padding is attended to
_T5_XXL = {"name": "t5", "model": "t5-xxl"}
_CLIP_STATES = {"max_tokens": 77, "hidden_layer": -2, "projection": True, **_PADDED}

TEXTS: dict[str, list[dict[str, Any]]] = {
    "sd3": [
        {"name": "clip_l", "model": "clip-l", **_CLIP_STATES},
        {"name": "clip_g", "model": "clip-g", **_CLIP_STATES},
        {**_T5_XXL, **_PADDED, "max_tokens": 256},
    ],
    "stable-diffusion-xl": [
        {"name": "clip_l", "model": "clip-l", **_CLIP_STATES, "projection": False, "output": "hidden"},
        {"name": "clip_g", "model": "clip-g", **_CLIP_STATES},
    ],
    "sdxl": [
        {
            "name": "clip",
            "model": "clip-h-dfn5b",
            "max_tokens": 77,
            "clean": "wan",
            "pad_token": "!",
            "output": "hidden",
            **_PADDED,
        },
    ],
    "hunyuan-video": [
        {
            "name": "llama",
            "model": "llama-3-8b-hunyuan",
            "max_tokens": 256,
            "template": HUNYUAN_TEMPLATE,
            "drop_tokens": 95,
            "hidden_layer": -3,
        },
        {"name": "clip", "model": "clip-l", "max_tokens": 77, "output": "pooled"},
    ],
    "ltx-video": [{**_T5_XXL, "max_tokens": 128, "attention_mask": False}],
    "qwen-image": [
        {
            "name": "qwen",
            "model": "qwen2.5-vl-7b",
            "max_tokens": 1024,
            "template": QWEN_TEMPLATE,
            "drop_tokens": 34,
        },
    ],
    "dc-ae": [{"name": "gemma", "model": "gemma-2-2b-it", "max_tokens": 300, "clean": "lower"}],
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
    "cogvideox": [{**_T5_XXL, **_PADDED, "max_tokens": 226}],
    "mochi": [{**_T5_XXL, "max_tokens": 256}],
}


def texts_of(name: str) -> list[dict[str, Any]]:
    """The text sections of the recipe, or of the variant, of that name."""
    if name in recipe_names():
        return [text.model_dump(mode="json") | {"dtype": "fp32"} for text in load_recipe(name).text]
    return TEXTS[name]
