from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from energon_prep.demo.tiny import build_pipeline
from energon_prep.encoders.base import VisualEncoder
from energon_prep.errors import PrepError
from tests.encoders.loading import load_visual
from tests.encoders.recipes import DIT, recipe

T5 = {"model": "t5-small"}
CLIPS = torch.randint(
    0, 256, (2, 9, 32, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


@pytest.fixture(scope="module")
def cosmos() -> VisualEncoder:
    return load_visual(DIT, weights="tiny", device="cpu")


class Indices(nn.Module):
    """What a discrete tokenizer gives."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x.sum(1).long(), x


@pytest.mark.parametrize(
    ("alias", "factors"),
    [
        ("cosmos-cv4x8x8", (4, 8)),
        ("cosmos-cv8x8x8", (8, 8)),
        ("cosmos-cv8x16x16", (8, 16)),
        ("cosmos-ci8x8", (None, 8)),
        ("cosmos-ci16x16", (None, 16)),
    ],
)
def test_factors_are_found_from_the_file_alone(
    alias: str, factors: tuple[int | None, int], tmp_path: Path
) -> None:
    built = build_pipeline(recipe(alias, T5), "tiny", tmp_path)
    (built / "vae/config.json").unlink()
    encoder = load_visual(recipe(str(built / "vae"), T5), weights=None, device="cpu")
    assert (encoder.temporal_factor, encoder.spatial_factor) == factors
    assert encoder.channels == 16
    assert encoder.encode(CLIPS[:, :1], [0, 0]).shape == (
        2,
        16,
        1,
        32 // factors[1],
        48 // factors[1],
    )


def test_latents_are_the_modules_own(cosmos: VisualEncoder) -> None:
    module = torch.jit.load(str(build_pipeline(DIT, "tiny") / "vae/encoder.jit")).float()
    with torch.no_grad():
        expected, _ = module(CLIPS.permute(0, 4, 1, 2, 3).float() / 127.5 - 1)
    latents = cosmos.encode(CLIPS, [0, 0])
    assert latents.shape == (2, 16, 3, 4, 6)
    assert not latents.is_inference()
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(cosmos.encode(CLIPS[:, :1], [0, 0]), latents[:, :, :1])


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_first_calls_give_the_same_bits_as_later_ones(dtype: str) -> None:
    encoder = load_visual(
        recipe({"model": "cosmos-cv4x8x8", "dtype": dtype, "compute_dtype": dtype}, T5),
        weights="tiny",
        device="cpu",
    )
    latents = [encoder.encode(CLIPS, [0, 0]) for _ in range(4)]
    assert all(torch.equal(latents[0], later) for later in latents[1:])
    encoder.encode(CLIPS[:1, :1], [0])  # another shape between
    assert torch.equal(latents[0], encoder.encode(CLIPS, [0, 0]))
    assert latents[0].isfinite().all()
    assert 0.1 < latents[0].float().std() < 3


def test_lengths_and_sizes_that_do_not_divide_are_refused(cosmos: VisualEncoder) -> None:
    with pytest.raises(ValueError, match="8 frames are not 1 plus a multiple of 4"):
        cosmos.encode(CLIPS[:, :8], [0, 0])
    with pytest.raises(ValueError, match="32x47 pixels"):
        cosmos.encode(CLIPS[:, :1, :, :47], [0, 0])
    images = load_visual(recipe("cosmos-ci8x8", T5), weights="tiny", device="cpu")
    with pytest.raises(ValueError, match="takes images, not clips of 9"):
        images.encode(CLIPS, [0, 0])


def test_describe_says_that_latents_are_raw(cosmos: VisualEncoder) -> None:
    about = cosmos.describe()
    assert (about["normalize"], about["shift"], about["scale"]) == ("none", 0.0, 1.0)
    assert (about["temporal_factor"], about["spatial_factor"], about["channels"]) == (4, 8, 16)


def test_a_discrete_tokenizer_is_refused(tmp_path: Path) -> None:
    torch.jit.script(Indices()).save(str(tmp_path / "encoder.jit"))
    with pytest.raises(
        PrepError, match=r"neither clips nor images in torch.float32.*Only continuous"
    ):
        load_visual(recipe(str(tmp_path), T5), weights=None, device="cpu")
