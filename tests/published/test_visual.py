from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from energon_prep.encoders.base import VisualEncoder
from energon_prep.encoders.catalog import CATALOG, VISUAL_FAMILIES
from tests.encoders.loading import load_visual
from tests.encoders.recipes import recipe

ALIASES = [alias for alias, info in CATALOG.items() if info.family in VISUAL_FAMILIES]
PIXELS = torch.randint(
    0, 256, (1, 1, 64, 64, 3), generator=torch.Generator().manual_seed(5), dtype=torch.uint8
)


def load(model: str | Path, subfolder: str = "", *, weights: str | None = None) -> VisualEncoder:
    spec = {"model": str(model), "subfolder": subfolder or None}
    return load_visual(recipe(spec, {"model": "t5-small"}), weights=weights, device="cpu")


@pytest.mark.parametrize("alias", ALIASES)
def test_a_visual_encoder_loads_by_its_name_and_from_its_files(
    alias: str, repository: Callable[[str], Path]
) -> None:
    info = CATALOG[alias]
    folder = repository(info.hf_id)
    by_name, by_folder = load(alias), load(folder, info.subfolder)
    latents = by_name.encode(PIXELS, [0])
    assert torch.equal(by_folder.encode(PIXELS, [0]), latents)
    # The tiny weights have the same values under the names of today, and the same statistics of
    # latents.
    torch.testing.assert_close(
        latents, load(alias, weights="tiny").encode(PIXELS, [0]), rtol=1e-3, atol=1e-3
    )
    assert (by_name.describe()["model"], by_folder.describe()["model"]) == (info.hf_id, str(folder))
