"""Any encoders, for trainers that read with our own task encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from energon_prep.samples import EncodedSample, sample_metadata
from energon_prep.targets.base import ContractError, embeddings
from energon_prep.targets.checks import (
    require_keys,
    require_latent,
    require_parts,
    require_text,
    require_vector,
)


class Generic:
    """Latents and every text encoder's embeddings, in the recipe's dtypes.

    ``pth`` is the latent [C, T, H, W] (of posterior "moments" [2 C, T, H, W]: means,
    log-variances); of several resolutions each has its own part, ``512.pth``, ``256.pth``.
    ``pickle`` is a dict: text encoder -> {"hidden": [S, D], "pooled": [D']}, what it does not give
    left out. ``json`` metadata.
    """

    part_names: tuple[str, ...] = ("json", "pickle")
    several_sizes = True

    def build(self, sample: EncodedSample) -> dict[str, Any]:
        several = len(sample.latents) > 1
        latents = {
            f"{name}.pth" if several else "pth": latent for name, latent in sample.latents.items()
        }
        return {"json": sample_metadata(sample), "pickle": embeddings(sample.texts), **latents}

    def check(self, parts: Mapping[str, Any]) -> None:
        require_parts(parts, self.part_names)
        require_keys("json", parts["json"], ())
        require_keys("pickle", parts["pickle"], ())
        for name, kinds in parts["pickle"].items():
            if not isinstance(kinds, dict) or not kinds or not kinds.keys() <= {"hidden", "pooled"}:
                raise ContractError(
                    f"pickle: {name!r} is not a dict of hidden and pooled embeddings"
                )
            if "hidden" in kinds:
                require_text(
                    f"pickle {name} hidden", kinds["hidden"], max_tokens=2**16, tensor=True
                )
            if "pooled" in kinds:
                require_vector(f"pickle {name} pooled", kinds["pooled"], width=None)
        latents = [part for part in parts if part == "pth" or part.endswith(".pth")]
        if not latents:
            raise ContractError(
                "there is no latent: no part pth or RESOLUTION.pth among "
                f"{', '.join(sorted(parts))}"
            )
        for part in latents:
            require_latent(part, parts[part], ndim=4, patch=1)
