"""Our latents are what the models' own diffusers pipelines feed their transformers, and decode to
what went in.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import diffusers
import PIL.Image
import pytest
import torch
from diffusers.pipelines.hunyuan_video1_5.image_processor import HunyuanVideo15ImageProcessor

from tests.encoders.visual_models import (
    ALIASES,
    CLIP_ALIASES,
    SEEDS,
    in_model_range,
    load,
    pixels_of,
    posterior_of,
    vae_of,
)

CPU = torch.device("cpu")
SIGMA_DATA = 0.5  # of Cosmos' and SANA-Sprint's schedulers: their training steps multiply by it


class NoNoise:
    """A scheduler at the end of its way."""

    init_noise_sigma = 1.0
    config = SimpleNamespace(sigma_data=SIGMA_DATA, sigma_max=80.0)

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, timestep: Any) -> torch.Tensor:
        return latents


def pipeline(alias: str, **parts: Any) -> SimpleNamespace:
    """As much of a pipeline as its encoding asks for."""
    encoder = load(alias)
    return SimpleNamespace(
        vae=vae_of(alias),
        scheduler=NoNoise(),
        vae_scale_factor=encoder.spatial_factor,
        vae_scale_factor_spatial=encoder.spatial_factor,
        vae_scale_factor_temporal=encoder.temporal_factor or 1,
        **parts,
    )


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in SEEDS]


def sizes(alias: str, x: torch.Tensor) -> dict[str, Any]:
    return {
        "batch_size": len(x),
        "num_channels_latents": load(alias).channels,
        "height": x.shape[-2],
        "width": x.shape[-1],
        "dtype": torch.float32,
        "device": CPU,
    }


def encode_image(pipeline_class: Any) -> Callable[..., torch.Tensor]:
    """Pipelines whose ``_encode_vae_image`` takes images [B, 3, H, W] and draws from the
    posterior.
    """

    def encode(alias: str, x: torch.Tensor) -> torch.Tensor:
        latents: torch.Tensor = pipeline_class._encode_vae_image(
            pipeline(alias), x[:, :, 0], generators()
        )
        return latents.unsqueeze(2)

    return encode


def flux2(alias: str, x: torch.Tensor) -> torch.Tensor:
    flux = diffusers.Flux2Pipeline
    own = pipeline(alias, _patchify_latents=flux._patchify_latents)
    latents: torch.Tensor = flux._encode_vae_image(own, x[:, :, 0], None)
    return latents.unsqueeze(2)


def qwen_image(alias: str, x: torch.Tensor) -> torch.Tensor:
    latents: torch.Tensor = diffusers.QwenImageImg2ImgPipeline._encode_vae_image(
        pipeline(alias), x, generators()
    )
    return latents


def sana(alias: str, x: torch.Tensor) -> torch.Tensor:
    prepare = diffusers.SanaSprintImg2ImgPipeline.prepare_latents
    latents: torch.Tensor = prepare(
        pipeline(alias),
        image=x[:, :, 0],
        timestep=torch.zeros(1),
        generator=None,
        **sizes(alias, x),
    )
    return latents.unsqueeze(2) / SIGMA_DATA


def wan(alias: str, x: torch.Tensor) -> torch.Tensor:
    prepare = diffusers.WanVideoToVideoPipeline.prepare_latents
    latents: torch.Tensor = prepare(pipeline(alias), video=x, **sizes(alias, x))
    return latents


def cosmos(alias: str, x: torch.Tensor) -> torch.Tensor:
    prepare = diffusers.CosmosVideoToWorldPipeline.prepare_latents
    _, latents, *_ = prepare(pipeline(alias), video=x, num_frames=x.shape[2], **sizes(alias, x))
    encoded: torch.Tensor = latents / SIGMA_DATA
    return encoded


def hunyuan_image(alias: str, x: torch.Tensor) -> torch.Tensor:
    own = pipeline(alias, vae_scaling_factor=vae_of(alias).config.scaling_factor)
    prepare = diffusers.HunyuanVideoImageToVideoPipeline.prepare_latents
    latents: torch.Tensor = prepare(own, image=x[:, :, 0], num_frames=1, **sizes(alias, x))[1]
    return latents


def hunyuan15_image(alias: str, x: torch.Tensor) -> torch.Tensor:
    images = [
        PIL.Image.fromarray(((image + 1) * 127.5).round().byte().numpy())
        for image in x[:, :, 0].movedim(1, -1)
    ]
    processor = HunyuanVideo15ImageProcessor(vae_scale_factor=16)
    encode = diffusers.HunyuanVideo15ImageToVideoPipeline._get_image_latents
    return torch.cat(
        [encode(vae_of(alias), processor, image, x.shape[-2], x.shape[-1], CPU) for image in images]
    )


def ltx(alias: str, x: torch.Tensor) -> torch.Tensor:
    own = pipeline(alias, _normalize_latents=diffusers.LTXImageToVideoPipeline._normalize_latents)
    latents: torch.Tensor = diffusers.LTXLatentUpsamplePipeline.prepare_latents(
        own, video=x, batch_size=len(x), dtype=torch.float32, device=CPU, generator=generators()
    )
    return latents


def cogvideox(alias: str, x: torch.Tensor) -> torch.Tensor:
    own = pipeline(alias, vae_scaling_factor_image=vae_of(alias).config.scaling_factor)
    prepare = diffusers.CogVideoXVideoToVideoPipeline.prepare_latents
    latents: torch.Tensor = prepare(own, video=x, generator=generators(), **sizes(alias, x))
    return latents.transpose(1, 2)  # it has frames before channels


def scaled_mean(alias: str, x: torch.Tensor) -> torch.Tensor:
    """Models whose pipelines encode no clips: the inverse of the step before ``vae.decode`` in
    their ``__call__``.
    """
    config = vae_of(alias).config
    pixels = ((x + 1) * 127.5).round().byte().permute(0, 2, 3, 4, 1)
    mean, std = (values_of(alias, name) for name in ("latents_mean", "latents_std"))
    return (posterior_of(alias, pixels).mean - mean) * config.scaling_factor / std


def values_of(alias: str, name: str) -> torch.Tensor:
    """A statistic as [1, C, T or 1, 1, 1]; 0 and 1 if the model has none."""
    config = vae_of(alias).config
    values = config.get(name)
    if values is None:
        return torch.tensor(0.0 if name == "latents_mean" else 1.0)
    return torch.tensor(values).view(1, config.get("latent_channels") or config.z_dim, -1, 1, 1)


IMAGES = {  # alias: the posterior that the pipeline takes, and its encoding
    "flux1": ("sample", encode_image(diffusers.FluxImg2ImgPipeline)),
    "sdxl": ("sample", encode_image(diffusers.StableDiffusionXLInpaintPipeline)),
    "sd-mse": ("sample", encode_image(diffusers.StableDiffusionInpaintPipeline)),
    "sd3": ("sample", encode_image(diffusers.StableDiffusion3InpaintPipeline)),
    "flux2": ("mean", flux2),
    "dc-ae": ("mean", sana),
    "wan2.1": ("mean", wan),
    "wan2.2": ("mean", wan),
    "qwen-image": ("sample", qwen_image),
    "cosmos1-cv8x8x8": ("mean", cosmos),
    "hunyuan-video": ("mean", hunyuan_image),
    "hunyuan-video-1.5": ("mean", hunyuan15_image),
    "ltx-video": ("sample", ltx),
    "cogvideox": ("sample", cogvideox),
    "mochi": ("mean", scaled_mean),
}
CLIPS = {
    **IMAGES,
    "hunyuan-video": ("mean", scaled_mean),
    "hunyuan-video-1.5": ("mean", scaled_mean),
}


@pytest.mark.parametrize("alias", ALIASES)
def test_an_images_latent_is_the_pipelines(alias: str) -> None:
    check(alias, *IMAGES[alias], latent_frames=1)


@pytest.mark.parametrize("alias", CLIP_ALIASES)
def test_a_clips_latent_is_the_pipelines(alias: str) -> None:
    check(alias, *CLIPS[alias], latent_frames=3)


def check(
    alias: str,
    posterior: str,
    encode: Callable[[str, torch.Tensor], torch.Tensor],
    *,
    latent_frames: int,
) -> None:
    encoder = load(alias, posterior=posterior)
    pixels = pixels_of(encoder, latent_frames)
    latents = encoder.encode(pixels, SEEDS)
    assert latents.shape[:3] == (2, encoder.channels, latent_frames)
    with torch.no_grad():
        expected = encode(alias, in_model_range(pixels))
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=2e-5)
    assert latents.std() > 0.05  # a constant would agree with anything


@pytest.mark.parametrize("alias", ALIASES)
def test_a_latent_taken_back_decodes_to_the_vaes_own_reconstruction(alias: str) -> None:
    encoder = load(alias)
    pixels = pixels_of(encoder, 1 if encoder.temporal_factor is None else 2)[:1]
    taken_back = denormalize(alias, encoder.encode(pixels, SEEDS[:1]))
    mean = posterior_of(alias, pixels).mean
    with torch.no_grad():
        ours, theirs = (
            vae_of(alias).decode(z[:, :, 0] if encoder.temporal_factor is None else z).sample
            for z in (taken_back, mean)
        )
    assert ours.shape[-2:] == pixels.shape[2:4]
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def denormalize(alias: str, latents: torch.Tensor) -> torch.Tensor:
    """What the pipelines do before they decode."""
    vae = vae_of(alias)
    if alias == "flux2":
        std = (vae.bn.running_var + vae.config.batch_norm_eps).sqrt()
        latents = latents * std.view(1, -1, 1, 1, 1) + vae.bn.running_mean.view(1, -1, 1, 1, 1)
        unpatchified: torch.Tensor = diffusers.Flux2Pipeline._unpatchify_latents(latents[:, :, 0])
        return unpatchified.unsqueeze(2)
    if alias == "ltx-video":
        taken_back: torch.Tensor = diffusers.LTXPipeline._denormalize_latents(
            latents, vae.latents_mean, vae.latents_std, vae.config.scaling_factor
        )
        return taken_back
    frames = latents.shape[2]
    mean, std = (values_of(alias, name) for name in ("latents_mean", "latents_std"))
    if mean.ndim:
        mean, std = mean[:, :, :frames], std[:, :, :frames]
    scale, shift = vae.config.get("scaling_factor", 1.0), vae.config.get("shift_factor") or 0.0
    return latents * std / scale + mean + shift
