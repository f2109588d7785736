from __future__ import annotations

import pytest
import torch

from energon_prep.demo.tiny.cosmos import CosmosEncoder
from energon_prep.encoders.catalog import CATALOG


@pytest.mark.parametrize(
    ("alias", "frames", "shape"),
    [
        ("cosmos-cv4x8x8", 9, (16, 3, 4, 6)),
        ("cosmos-cv8x8x8", 17, (16, 3, 4, 6)),
        ("cosmos-cv8x16x16", 1, (16, 1, 2, 3)),
    ],
)
def test_clips_become_latents_of_the_factors_in_the_name(
    alias: str, frames: int, shape: tuple[int, ...]
) -> None:
    model = CosmosEncoder(**CATALOG[alias].tiny)
    latent, _ = torch.jit.script(model)(torch.zeros(2, 3, frames, 32, 48))
    assert latent.shape == (2, *shape)


def test_image_tokenizers_take_no_time_axis() -> None:
    module = torch.jit.script(CosmosEncoder(**CATALOG["cosmos-ci16x16"].tiny))
    assert module(torch.zeros(2, 3, 32, 48))[0].shape == (2, 16, 2, 3)
    with pytest.raises(torch.jit.Error):
        module(torch.zeros(2, 3, 1, 32, 48))


def test_a_latent_frame_does_not_see_later_frames() -> None:
    torch.manual_seed(0)
    model = CosmosEncoder(**CATALOG["cosmos-cv4x8x8"].tiny)
    clip = torch.rand(1, 3, 9, 32, 32)
    changed = clip.clone()
    changed[:, :, 5:] += 1
    before, after = model(clip)[0], model(changed)[0]
    torch.testing.assert_close(before[:, :, :2], after[:, :, :2])
    assert not torch.allclose(before[:, :, 2], after[:, :, 2])
    torch.testing.assert_close(model(clip[:, :, :1])[0], before[:, :, :1])
