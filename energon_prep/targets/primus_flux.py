"""FLUX of AMD Primus (``EncodedDiffusionTaskEncoder``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from energon_prep.samples import EncodedSample, TextEmbedding, sample_metadata
from energon_prep.targets.base import ContractError
from energon_prep.targets.checks import (
    require_keys,
    require_latent,
    require_parts,
    require_pooled,
    require_text,
    require_vector,
)
from energon_prep.targets.flux import CHANNELS, MAX_TOKENS, POOLED_WIDTH, TEXT_WIDTH, image_latent
from energon_prep.targets.serialize import dumps_npy_of_one


class PrimusFlux:
    """One ``.pth`` part for each tensor, and the caption; with posterior "moments" ``mean.pth`` and
    ``logvar.pth`` too, which the trainer draws from and normalises itself: the recipe then has
    ``normalize: none``.

    ``latents.pth`` [16, H, W], ``prompt_embeds.pth`` [S, 4096], ``pooled_prompt_embeds.pth`` [768],
    ``caption.txt``. For its caption dropout the trainer looks for ``empty_encodings`` in the
    dataset. The JSON has no top-level ``timestep``: a batch that has one is validated on, not
    trained on, and gets no dropout.
    """

    part_names: tuple[str, ...] = (
        "json",
        "caption.txt",
        "prompt_embeds.pth",
        "pooled_prompt_embeds.pth",
        "latents.pth",
    )
    text_names: tuple[str, ...] | None = ("t5", "clip")
    caption_files: Mapping[str, Callable[[Any], bytes]] = {
        # float32 [1, S, 4096]
        "empty_encodings/t5_empty.npy": lambda text: _caption_file(text, "prompt_embeds"),
        # float32 [1, 768]
        "empty_encodings/clip_empty.npy": lambda text: _caption_file(text, "pooled_prompt_embeds"),
    }

    def build(self, sample: EncodedSample) -> dict[str, Any]:
        latent = image_latent(sample.latent)
        mean, logvar = (
            (latent[:CHANNELS], latent[CHANNELS:])
            if len(latent) == 2 * CHANNELS
            else (latent, None)
        )
        parts = {
            "json": sample_metadata(sample),
            "caption.txt": sample.info.caption.encode(),
            **{f"{name}.pth": tensor for name, tensor in self.build_text(sample.texts).items()},
            "latents.pth": mean.clone(),
        }
        if logvar is not None:
            parts |= {"mean.pth": mean.clone(), "logvar.pth": logvar.clone()}
        return parts

    def build_text(self, texts: Mapping[str, TextEmbedding]) -> dict[str, torch.Tensor]:
        return {
            "prompt_embeds": texts["t5"].tokens,
            "pooled_prompt_embeds": require_pooled(texts, "clip"),
        }

    def check(self, parts: Mapping[str, Any]) -> None:
        require_parts(parts, self.part_names[1:])
        try:
            parts["caption.txt"].decode("utf-8")
        except UnicodeDecodeError as error:
            raise ContractError(f"caption.txt is not UTF-8 ({error})") from error
        require_text(
            "prompt_embeds.pth",
            parts["prompt_embeds.pth"],
            max_tokens=MAX_TOKENS,
            width=TEXT_WIDTH,
            tensor=True,
        )
        require_vector(
            "pooled_prompt_embeds.pth", parts["pooled_prompt_embeds.pth"], width=POOLED_WIDTH
        )
        if ("mean.pth" in parts) != ("logvar.pth" in parts):
            raise ContractError("of mean.pth and logvar.pth there is one without the other")
        for part in ("latents.pth", "mean.pth", "logvar.pth"):
            if part in parts:
                require_latent(part, parts[part], ndim=3, patch=2, channels=CHANNELS)

    def subflavors(self) -> dict[str, Any]:
        return {"target": "primus-flux", "encoding": "preencoded"}


def _caption_file(text: Any, name: str) -> bytes:
    require_keys("the empty caption", text, (name,))
    return dumps_npy_of_one(text[name])
