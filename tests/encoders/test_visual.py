from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL

from energon_prep.encoders.base import VisualEncoder
from energon_prep.encoders.tiny import build_pipeline
from energon_prep.encoders.visual import DiffusersEncoder, to_model_range
from energon_prep.encoders.visual_classes import VISUAL_CLASSES
from energon_prep.encoders.weights import load_visual
from tests.encoders.recipes import FLUX1, SMALL, recipe

PIXELS = torch.randint(0, 256, (3, 1, 32, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
SEEDS = [11, 12, 13]


def load(**spec: object) -> VisualEncoder:
    return load_visual(recipe({"model": "flux1", **spec}, {"model": "t5-small"}), weights="tiny", device="cpu")


@pytest.fixture(scope="module")
def flux() -> VisualEncoder:
    return load_visual(FLUX1, weights="tiny", device="cpu")


def test_latents_are_diffusers_own_shifted_and_scaled(flux: VisualEncoder) -> None:
    vae = AutoencoderKL.from_pretrained(build_pipeline(FLUX1, "tiny") / "vae")
    images = PIXELS[:, 0].permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        expected = (vae.encode(images).latent_dist.mode() - 0.1159) * 0.3611
    latents = flux.encode(PIXELS, SEEDS)
    assert latents.shape == (3, 16, 1, 4, 6)
    assert not latents.is_inference()
    torch.testing.assert_close(latents[:, :, 0], expected, rtol=1e-5, atol=1e-6)


def test_the_checkpoints_config_gives_factors_shift_and_scale(flux: VisualEncoder) -> None:
    assert (flux.spatial_factor, flux.temporal_factor, flux.channels) == (8, 1, 16)
    about = flux.describe()
    assert (about["shift"], about["scale"], about["class"]) == (0.1159, 0.3611, "AutoencoderKL")
    sd = load_visual(SMALL, weights="tiny", device="cpu")
    assert (sd.channels, sd.describe()["shift"], sd.describe()["scale"]) == (4, 0.0, 0.18215)


def test_normalize_none_stores_what_the_encoder_gives(flux: VisualEncoder) -> None:
    raw = load(normalize="none").encode(PIXELS, SEEDS)
    torch.testing.assert_close((raw - 0.1159) * 0.3611, flux.encode(PIXELS, SEEDS))


def test_statistics_per_channel_are_applied_where_a_checkpoint_has_them() -> None:
    vae = AutoencoderKL.from_pretrained(build_pipeline(SMALL, "tiny") / "vae")
    mean, std = [0.1, 0.2, 0.3, 0.4], [1.0, 2.0, 3.0, 4.0]
    options: dict[str, Any] = {
        "kind": VISUAL_CLASSES["AutoencoderKL"],
        "dtype": torch.float32,
        "device": torch.device("cpu"),
        "posterior": "mean",
        "about": {},
    }
    raw = DiffusersEncoder(model=vae, normalize=False, **options).encode(PIXELS, SEEDS)
    vae.register_to_config(latents_mean=mean, latents_std=std)
    latents = DiffusersEncoder(model=vae, normalize=True, **options).encode(PIXELS, SEEDS)
    columns = [torch.tensor(values).view(1, 4, 1, 1, 1) for values in (mean, std)]
    torch.testing.assert_close(latents, (raw - columns[0]) * 0.18215 / columns[1])


def test_a_draw_depends_on_the_samples_seed_and_not_on_its_batch(flux: VisualEncoder) -> None:
    sampling = load(posterior="sample")
    batch = sampling.encode(PIXELS, SEEDS)
    alone = [sampling.encode(PIXELS[i : i + 1], SEEDS[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(batch, torch.cat(alone), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(batch, flux.encode(PIXELS, SEEDS))
    assert not torch.allclose(batch, sampling.encode(PIXELS, [1, 2, 3]))


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_latents_come_in_the_recipes_dtype_and_are_sane(dtype: str, flux: VisualEncoder) -> None:
    latents = load(dtype=dtype).encode(PIXELS, SEEDS)
    assert latents.dtype == {"bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    assert latents.isfinite().all()
    assert 0.05 < latents.float().std() < 2
    torch.testing.assert_close(latents.float(), flux.encode(PIXELS, SEEDS), rtol=0.1, atol=0.05)


@pytest.mark.parametrize("color", [0, 127, 255])
def test_a_plain_image_gives_finite_latents(flux: VisualEncoder, color: int) -> None:
    assert flux.encode(torch.full((1, 1, 64, 64, 3), color, dtype=torch.uint8), [0]).isfinite().all()


def test_the_same_pixels_give_the_same_bits(flux: VisualEncoder) -> None:
    assert torch.equal(flux.encode(PIXELS, SEEDS), flux.encode(PIXELS, SEEDS))


def test_clips_and_sizes_that_do_not_divide_are_refused(flux: VisualEncoder) -> None:
    with pytest.raises(ValueError, match="clips of 5 frames"):
        flux.encode(torch.zeros(1, 5, 32, 32, 3, dtype=torch.uint8), [0])
    with pytest.raises(ValueError, match="32x36 pixels are no multiple of 8"):
        flux.encode(torch.zeros(1, 1, 32, 36, 3, dtype=torch.uint8), [0])


def test_pixels_are_mapped_to_minus_one_to_one() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 1, 3)
    mapped = to_model_range(pixels, device=torch.device("cpu"), dtype=torch.float32)
    assert mapped.shape == (1, 3, 1, 1, 1)
    torch.testing.assert_close(mapped.flatten(), torch.tensor([-1.0, -0.6, 1.0]))
