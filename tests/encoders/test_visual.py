from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from energon_prep.encoders.base import VisualEncoder
from energon_prep.encoders.catalog import CATALOG
from energon_prep.encoders.visual import draw_noise, is_tiled, to_model_range
from energon_prep.encoders.visual_classes import VISUAL_CLASSES
from energon_prep.encoders.visual_normalize import patchify
from energon_prep.errors import PrepError
from tests.encoders.loading import load_visual
from tests.encoders.recipes import FLUX1, recipe
from tests.encoders.visual_models import (
    ALIASES,
    CLIP_ALIASES,
    GAUSSIAN_ALIASES,
    SEEDS,
    load,
    pixels_of,
    posterior_of,
)

#: Spatial factor, temporal factor, channels.
GEOMETRY = {
    "flux1": (8, 1, 16),
    "sdxl": (8, 1, 4),
    "sd-mse": (8, 1, 4),
    "sd3": (8, 1, 16),
    "flux2": (16, 1, 128),
    "dc-ae": (32, 1, 32),
    "wan2.1": (8, 4, 16),
    "wan2.2": (16, 4, 48),
    "qwen-image": (8, 4, 16),
    "cosmos1-cv8x8x8": (8, 8, 16),
    "hunyuan-video": (8, 4, 16),
    "hunyuan-video-1.5": (16, 4, 32),
    "ltx-video": (32, 8, 128),
    "cogvideox": (8, 4, 16),
    "mochi": (8, 6, 12),
}
#: The tiles of the others are 256 pixels wide.
WIDER_THAN_A_TILE = {
    "flux1": 1056,
    "sdxl": 1056,
    "sd3": 1056,
    "flux2": 1056,
    "dc-ae": 544,
    "wan2.2": 544,
    "ltx-video": 544,
    "cogvideox": 384,
}
TILED_ALIASES = [alias for alias in ALIASES if VISUAL_CLASSES[CATALOG[alias].family].tiles]


@pytest.fixture(scope="module")
def flux() -> VisualEncoder:
    return load_visual(FLUX1, weights="tiny", device="cpu")


@pytest.fixture(scope="module")
def pixels(flux: VisualEncoder) -> torch.Tensor:
    return pixels_of(flux, height=32, width=48)


@pytest.mark.parametrize("alias", ALIASES)
def test_the_checkpoints_config_gives_factors_and_channels(alias: str) -> None:
    encoder = load(alias)
    assert (encoder.spatial_factor, encoder.temporal_factor or 1, encoder.channels) == GEOMETRY[
        alias
    ]
    assert (encoder.temporal_factor is None) == (alias not in CLIP_ALIASES)
    for frames in (1,) if encoder.temporal_factor is None else (1, 3):
        latents = encoder.encode(pixels_of(encoder, frames, width=128), SEEDS)
        size = (64 // encoder.spatial_factor, 128 // encoder.spatial_factor)
        assert latents.shape == (2, encoder.channels, frames, *size)
        assert not latents.is_inference()
        assert latents.is_contiguous()


@pytest.mark.parametrize("alias", CLIP_ALIASES)
def test_a_sample_is_the_same_in_a_batch_and_alone_and_after_others(alias: str) -> None:
    """Wan, Qwen-Image, CogVideoX and Mochi keep frames between their calls: nothing of one clip may
    reach another.
    """
    encoder = load(alias)
    # HunyuanVideo encodes more than 16 frames in overlapping chunks, CogVideoX more than 15.
    clips = pixels_of(encoder, 6, height=32 if encoder.spatial_factor < 32 else 64, width=64)
    batch = encoder.encode(clips, SEEDS)
    encoder.encode(clips[:1, :1], SEEDS[:1])  # an image between
    alone = torch.cat([encoder.encode(clips[i : i + 1], SEEDS[i : i + 1]) for i in (1, 0)]).flip(0)
    assert batch.shape[2] == 6
    torch.testing.assert_close(batch, alone, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("alias", ["flux1", "wan2.1", "cosmos-cv4x8x8"])
def test_batches_can_be_under_way_at_once(alias: str) -> None:
    encoder = load(alias)
    images, clips = (
        pixels_of(encoder, frames) for frames in (1, 1 if encoder.temporal_factor is None else 2)
    )
    pending = [encoder.launch(images, SEEDS), encoder.launch(clips[:1], SEEDS[:1])]
    second, first = [wait() for wait in reversed(pending)]
    assert torch.equal(first, encoder.encode(images, SEEDS))
    assert torch.equal(second, encoder.encode(clips[:1], SEEDS[:1]))


@pytest.mark.parametrize("alias", GAUSSIAN_ALIASES)
def test_a_draw_of_the_moments_is_the_normalised_sample(alias: str) -> None:
    moments, sampling = load(alias, posterior="moments"), load(alias, posterior="sample")
    pixels = pixels_of(moments, 1 if moments.temporal_factor is None else 2)
    mean, logvar = moments.encode(pixels, SEEDS).chunk(2, dim=1)
    raw = posterior_of(alias, pixels)
    noise = patchify(draw_noise(raw.mean.shape[1:], SEEDS), 2 if alias == "flux2" else 1)
    drawn = mean + (logvar / 2).exp() * noise
    torch.testing.assert_close(drawn, sampling.encode(pixels, SEEDS), rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(mean, load(alias).encode(pixels, SEEDS))
    assert not torch.allclose(drawn, mean, atol=1e-2)


@pytest.mark.parametrize("alias", GAUSSIAN_ALIASES)
def test_normalize_none_gives_the_vaes_own_moments(alias: str) -> None:
    encoder = load(alias, posterior="moments", normalize="none")
    pixels = pixels_of(encoder)
    raw = posterior_of(alias, pixels)
    patch = 2 if alias == "flux2" else 1  # its layout has neighbours as channels, normalised or not
    expected = torch.cat([patchify(raw.mean, patch), patchify(raw.logvar, patch)], dim=1)
    torch.testing.assert_close(encoder.encode(pixels, SEEDS), expected, rtol=1e-4, atol=2e-5)


def test_a_draw_depends_on_the_samples_seed_and_not_on_its_batch(
    flux: VisualEncoder, pixels: torch.Tensor
) -> None:
    sampling = load("flux1", posterior="sample")
    batch = sampling.encode(pixels, SEEDS)
    alone = [sampling.encode(pixels[i : i + 1], SEEDS[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(batch, torch.cat(alone), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(batch, flux.encode(pixels, SEEDS))
    assert not torch.allclose(batch, sampling.encode(pixels, [1, 2]))


@pytest.mark.parametrize("alias", ["dc-ae", "cosmos1-cv8x8x8", "cosmos-cv4x8x8"])
@pytest.mark.parametrize("posterior", ["sample", "moments"])
def test_plain_autoencoders_have_no_posterior_to_draw_from(alias: str, posterior: str) -> None:
    with pytest.raises(
        PrepError, match=f"'{alias}': .* no {posterior} of its posterior: .*posterior=mean"
    ):
        load(alias, posterior=posterior)


@pytest.mark.parametrize("alias", ALIASES)
def test_latents_come_in_the_recipes_dtype_and_are_near_those_of_fp32(alias: str) -> None:
    encoder = load(alias, dtype="bf16", compute_dtype="bf16")
    pixels = pixels_of(encoder, 1 if encoder.temporal_factor is None else 2)
    latents = encoder.encode(pixels, SEEDS)
    expected = load(alias).encode(pixels, SEEDS)
    assert latents.dtype == torch.bfloat16
    assert (latents.float() - expected).abs().mean() < 0.03 * expected.std()


def test_fp16_is_computed_in_fp32_on_a_cpu(flux: VisualEncoder, pixels: torch.Tensor) -> None:
    latents = load("flux1", dtype="fp16", compute_dtype="fp16").encode(pixels, SEEDS)
    assert torch.equal(latents, flux.encode(pixels, SEEDS).half())


@pytest.mark.parametrize(
    ("alias", "computed"),
    [
        ("wan2.1", "float32"),
        ("flux1", "bfloat16"),
        ("dc-ae", "float32"),
        ("hunyuan-video", "float32"),
    ],
)
def test_a_model_computes_in_what_its_pipeline_does_whatever_is_stored(
    alias: str, computed: str
) -> None:
    encoder = load(alias, dtype="fp16", compute_dtype=None)
    about, pixels = encoder.describe(), pixels_of(encoder)
    assert (about["dtype"], about["model_dtype"]) == ("float16", computed)
    same = load(
        alias, dtype="fp32", compute_dtype={"float32": "fp32", "bfloat16": "bf16"}[computed]
    )
    assert torch.equal(encoder.encode(pixels, SEEDS), same.encode(pixels, SEEDS).half())


def test_what_torch_cannot_do_in_bf16_on_a_cpu_runs_in_fp32(
    caplog: pytest.LogCaptureFixture,
) -> None:
    spec = {"model": "cosmos1-cv8x8x8", "dtype": "bf16", "compute_dtype": "bf16"}
    encoder = load_visual(recipe(spec, {"model": "t5-small"}), weights="tiny", device="cpu")
    assert "runs in fp32" in caplog.text
    assert (encoder.describe()["dtype"], encoder.describe()["model_dtype"]) == (
        "bfloat16",
        "float32",
    )
    pixels = pixels_of(encoder)
    assert torch.equal(
        encoder.encode(pixels, SEEDS), load("cosmos1-cv8x8x8").encode(pixels, SEEDS).bfloat16()
    )


@pytest.mark.parametrize("color", [0, 127, 255])
def test_a_plain_image_gives_finite_latents(flux: VisualEncoder, color: int) -> None:
    assert (
        flux.encode(torch.full((1, 1, 64, 64, 3), color, dtype=torch.uint8), [0]).isfinite().all()
    )


def test_the_same_pixels_give_the_same_bits(flux: VisualEncoder, pixels: torch.Tensor) -> None:
    assert torch.equal(flux.encode(pixels, SEEDS), flux.encode(pixels, SEEDS))


def test_clips_and_sizes_that_do_not_divide_are_refused(flux: VisualEncoder) -> None:
    with pytest.raises(ValueError, match="clips of 5 frames"):
        flux.encode(torch.zeros(1, 5, 32, 32, 3, dtype=torch.uint8), [0])
    with pytest.raises(ValueError, match="32x36 pixels are no multiple of 8"):
        flux.encode(torch.zeros(1, 1, 32, 36, 3, dtype=torch.uint8), [0])
    with pytest.raises(ValueError, match="8 frames are not 1 plus a multiple of 4"):
        load("wan2.1").encode(torch.zeros(1, 8, 32, 32, 3, dtype=torch.uint8), [0])


def test_a_clip_longer_than_the_statistics_is_refused() -> None:
    with pytest.raises(
        PrepError,
        match="statistics of 16 latent frames, and a clip has 129 frames: use --frames 121",
    ):
        load("cosmos1-cv8x8x8").encode(torch.zeros(1, 129, 32, 32, 3, dtype=torch.uint8), [0])


@pytest.mark.parametrize("alias", TILED_ALIASES)
def test_tiles_give_latents_of_the_same_shape_and_near_the_whole_ones(alias: str) -> None:
    whole, tiled = load(alias, tiling="never"), load(alias, tiling="always")
    width = WIDER_THAN_A_TILE.get(alias, 288)
    for frames in (1,) if whole.temporal_factor is None else (1, 2):
        pixels = pixels_of(whole, frames, height=32, width=width)[:1]
        expected, latents = whole.encode(pixels, SEEDS[:1]), tiled.encode(pixels, SEEDS[:1])
        assert latents.shape == expected.shape
        assert not torch.equal(latents, expected)
        assert (latents - expected).abs().mean() < 0.5 * expected.std()
    small = pixels_of(whole)
    assert torch.equal(tiled.encode(small, SEEDS), whole.encode(small, SEEDS))


def test_tiling_is_chosen_by_the_size_alone() -> None:
    wide: dict[str, Any] = {"tiling": "auto", "tile_pixels": 32 * 1024}
    encoder, whole = load("flux1", **wide), load("flux1", tiling="never")
    large, small = (pixels_of(encoder, height=32, width=width)[:1] for width in (1056, 1024))
    assert not torch.equal(encoder.encode(large, SEEDS[:1]), whole.encode(large, SEEDS[:1]))
    # and it is off again
    assert torch.equal(encoder.encode(small, SEEDS[:1]), whole.encode(small, SEEDS[:1]))
    assert (encoder.describe()["tiling"], encoder.describe()["tile_pixels"]) == ("auto", 32 * 1024)


@given(frames=st.integers(1, 200), height=st.integers(1, 4096), width=st.integers(1, 4096))
def test_by_default_nothing_within_the_released_sizes_is_tiled(
    frames: int, height: int, width: int
) -> None:
    size = {"frames": frames, "height": height, "width": width}
    most = 2048 * 2048 if frames == 1 else 1280 * 720
    assert is_tiled("auto", None, **size) == (height * width > most)
    assert is_tiled("auto", height * width, **size) is False
    assert is_tiled("always", None, **size)
    assert not is_tiled("never", 1, **size)


@pytest.mark.parametrize("alias", ["cosmos1-cv8x8x8", "cosmos-ci8x8"])
def test_encoders_without_tiles_say_so(alias: str) -> None:
    with pytest.raises(PrepError, match=f"'{alias}': .* does not encode in tiles"):
        load(alias, tiling="always")


def test_describe_tells_what_a_latent_is(flux: VisualEncoder) -> None:
    about = flux.describe()
    assert (about["shift"], about["scale"], about["class"]) == (0.1159, 0.3611, "AutoencoderKL")
    assert (about["posterior"], about["normalize"], about["tiling"]) == (
        "mean",
        "checkpoint",
        "auto",
    )
    wan = load("wan2.1", posterior="moments", normalize="none").describe()
    assert (wan["mean"][0], wan["std"][0], wan["scale"]) == (-0.7571, 2.8184, 1.0)
    assert (wan["posterior"], wan["normalize"], wan["temporal_factor"]) == ("moments", "none", 4)
    ltx = load("ltx-video").describe()
    assert ltx["mean"]["values"] == 128
    assert ltx["mean"]["sha256"] != ltx["std"]["sha256"]
    json.dumps([about, wan, ltx])


def test_no_memory_is_held_by_the_decoder(flux: VisualEncoder) -> None:
    model = flux._model  # type: ignore[attr-defined]
    assert not list(model.decoder.parameters())


@pytest.mark.parametrize("channels_last", [False, True])
def test_pixels_are_mapped_to_minus_one_to_one(channels_last: bool) -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 1, 3)
    mapped = to_model_range(
        pixels, device=torch.device("cpu"), dtype=torch.float32, channels_last=channels_last
    )
    assert mapped.shape == (1, 3, 1, 1, 1)
    torch.testing.assert_close(mapped.flatten(), torch.tensor([-1.0, -0.6, 1.0]))


def test_channels_last_pixels_need_no_copy_in_another_order() -> None:
    pixels = torch.zeros(2, 5, 8, 6, 3, dtype=torch.uint8)
    mapped = to_model_range(
        pixels, device=torch.device("cpu"), dtype=torch.bfloat16, channels_last=True
    )
    assert mapped.is_contiguous(memory_format=torch.channels_last_3d)
    # a slice of a clip
    assert mapped[:, :, 0].is_contiguous(memory_format=torch.channels_last) is False
    assert mapped[:, :, :1][:, :, 0].shape == (2, 3, 8, 6)
