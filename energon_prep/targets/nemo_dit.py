"""The DiT of NeMo (``BasicDiffusionTaskEncoder``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from energon_prep.samples import EncodedSample, TextEmbedding, sample_metadata
from energon_prep.targets.base import ContractError
from energon_prep.targets.checks import require_keys, require_latent, require_parts, require_text

MAX_TOKENS = 512

#: An unscored sample is no better than the worst one: NeMo's default threshold, 0.0, takes it, a
#: stricter one does not.
UNSCORED = 0.0
_SCORE_KEYS = ("aesthetic_score", "aesthetic", "AESTHETIC_SCORE", "aesthetics_score")


class NeMoDiT:
    """Part names with a leading dot (members are ``KEY..pth``), text as np.ndarray, and a score in
    the JSON.

    ``.pth`` is the latent [C, T, H, W]; ``.pickle`` is float16 [S, D] for an image and a list whose
    first item is that for a video, as the Cosmos scripts write them; ``.json`` has
    ``aesthetic_score`` and what NeMo reads of sizes.
    """

    part_names: tuple[str, ...] = (".json", ".pickle", ".pth")
    text_names: tuple[str, ...] | None = ("t5",)

    def build(self, sample: EncodedSample) -> dict[str, Any]:
        info = sample_metadata(sample)
        info |= {"aesthetic_score": _score(info["meta"])}
        info |= {"image_height": info["height"], "image_width": info["width"]}
        embeddings = self.build_text(sample.texts)
        is_image = info["media"] == "image"
        return {
            ".json": info,
            ".pickle": embeddings if is_image else [embeddings],
            ".pth": sample.latent,
        }

    def build_text(
        self, texts: Mapping[str, TextEmbedding]
    ) -> np.ndarray[Any, np.dtype[np.float16]]:
        return texts["t5"].tokens.float().numpy().astype(np.float16)

    def check(self, parts: Mapping[str, Any]) -> None:
        require_parts(parts, self.part_names)
        latent, text = parts[".pth"], parts[".pickle"]
        require_latent(".pth", latent, ndim=4, patch=2)
        is_image = latent.shape[1] == 1  # NeMo's own rule
        sizes = (
            ("image_height", "image_width")
            if is_image
            else ("height", "width", "framerate", "num_frames")
        )
        require_keys(".json", parts[".json"], ("aesthetic_score", *sizes))
        if not is_image:
            if not isinstance(text, (list, tuple)) or not text:
                raise ContractError(
                    f".pickle of a video is a {type(text).__name__}, not a list of arrays"
                )
            text = text[0]
        if not isinstance(text, np.ndarray):
            raise ContractError(f".pickle holds a {type(text).__name__}, not an np.ndarray")
        require_text(".pickle", text, max_tokens=MAX_TOKENS)


def _score(meta: Mapping[str, Any]) -> float:
    for key in _SCORE_KEYS:
        value = meta.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    return UNSCORED
