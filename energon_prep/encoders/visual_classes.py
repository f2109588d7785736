"""What is to be known of diffusers' autoencoder classes beyond what their configurations say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from energon_prep.recipes.model import DType

#: Spatial and temporal factor, of a model's configuration.
Factors = Callable[[Mapping[str, Any]], tuple[int, int]]

DiffusersClass = Literal[
    "AutoencoderKL",
    "AutoencoderKLFlux2",
    "AutoencoderDC",
    "AutoencoderKLWan",
    "AutoencoderKLQwenImage",
    "AutoencoderKLCosmos",
    "AutoencoderKLHunyuanVideo",
    "AutoencoderKLHunyuanVideo15",
    "AutoencoderKLLTXVideo",
    "AutoencoderKLCogVideoX",
    "AutoencoderKLMochi",
]
VisualFamily = Literal[DiffusersClass, "cosmos-jit"]

#: of the published Cosmos tokenizers, most of which run in nothing else
JIT_COMPUTE_DTYPE: DType = "bf16"

DIFFUSERS_CLASSES: tuple[DiffusersClass, ...] = get_args(DiffusersClass)


@dataclass(frozen=True, kw_only=True)
class VisualClass:
    """One class. The defaults are those of a video VAE with a Gaussian posterior."""

    factors: Factors
    clips: bool = True  #: takes [B, 3, T, H, W]; else images, [B, 3, H, W]
    gaussian: bool = True  #: gives a mean and a variance; else a plain latent
    #: Where mean and standard deviation of the latents are, if not scaling_factor is all there is.
    statistics: Literal["config", "buffers", "batch-norm"] = "config"
    tiles: bool = True  #: ``enable_tiling`` has an effect on encoding
    batches: bool = True  #: encodes several samples in one call
    #: Module of the encoder that takes pixels in fp32 whatever the model's dtype: sines of up to
    #: 800 times a pixel's value mean little once that is rounded to bf16.
    exact_pixels: str | None = None
    half_on_cpu: bool = True  #: torch has all its operations in bf16 and fp16 on CPUs
    compute_dtype: DType = "bf16"  #: of the pipelines it is published in, as their examples load it
    #: Where it is faster with channels last. Measured on CPUs, where some clips are encoded at half
    #: the speed so.
    channels_last: Literal["everywhere", "cpu", "nowhere"] = "nowhere"


def _of_blocks(config: Mapping[str, Any]) -> tuple[int, int]:
    return 2 ** (len(config["block_out_channels"]) - 1), 1


def _of_flux2(config: Mapping[str, Any]) -> tuple[int, int]:
    """The latent's 2x2 neighbours become channels before it is normalised:
    ``Flux2Pipeline._patchify_latents``.
    """
    return _of_blocks(config)[0] * int(config["patch_size"][0]), 1


def _of_dc(config: Mapping[str, Any]) -> tuple[int, int]:
    return 2 ** (len(config["encoder_block_out_channels"]) - 1), 1


def _of_wan(config: Mapping[str, Any]) -> tuple[int, int]:
    return int(config["scale_factor_spatial"]), int(config["scale_factor_temporal"])


def _of_qwen_image(config: Mapping[str, Any]) -> tuple[int, int]:
    halved = config["temperal_downsample"]  # diffusers' spelling
    return 2 ** len(halved), 2 ** sum(halved)


def _of_ratios(config: Mapping[str, Any]) -> tuple[int, int]:
    return int(config["spatial_compression_ratio"]), int(config["temporal_compression_ratio"])


def _of_ltx(config: Mapping[str, Any]) -> tuple[int, int]:
    halvings = 2 ** sum(config["spatio_temporal_scaling"])
    spatial = config["spatial_compression_ratio"] or config["patch_size"] * halvings
    return int(spatial), int(
        config["temporal_compression_ratio"] or config["patch_size_t"] * halvings
    )


def _of_cogvideox(config: Mapping[str, Any]) -> tuple[int, int]:
    return _of_blocks(config)[0], int(config["temporal_compression_ratio"])


def _of_mochi(config: Mapping[str, Any]) -> tuple[int, int]:
    return math.prod(config["spatial_expansions"]), math.prod(config["temporal_expansions"])


VISUAL_CLASSES: dict[str, VisualClass] = {
    "AutoencoderKL": VisualClass(factors=_of_blocks, clips=False, channels_last="everywhere"),
    "AutoencoderKLFlux2": VisualClass(
        factors=_of_flux2, clips=False, statistics="batch-norm", channels_last="everywhere"
    ),
    "AutoencoderDC": VisualClass(
        factors=_of_dc,
        clips=False,
        gaussian=False,
        compute_dtype="fp32",
        channels_last="everywhere",
    ),
    "AutoencoderKLWan": VisualClass(factors=_of_wan, compute_dtype="fp32", channels_last="cpu"),
    "AutoencoderKLQwenImage": VisualClass(factors=_of_qwen_image, channels_last="cpu"),
    "AutoencoderKLCosmos": VisualClass(
        factors=_of_ratios, gaussian=False, tiles=False, half_on_cpu=False
    ),
    "AutoencoderKLHunyuanVideo": VisualClass(factors=_of_ratios, compute_dtype="fp16"),
    # Its attention mask has the batch where attention expects the heads (diffusers 0.42): one
    # sample at a time.
    "AutoencoderKLHunyuanVideo15": VisualClass(
        factors=_of_ratios, batches=False, compute_dtype="fp16", channels_last="cpu"
    ),
    "AutoencoderKLLTXVideo": VisualClass(factors=_of_ltx, statistics="buffers"),
    "AutoencoderKLCogVideoX": VisualClass(factors=_of_cogvideox),
    "AutoencoderKLMochi": VisualClass(factors=_of_mochi, exact_pixels="fourier_features"),
}
