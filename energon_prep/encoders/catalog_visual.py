"""The visual encoders that have a short name here.

What ``tiny`` leaves out is the class's own default, and so are channels, factors and statistics of
most: diffusers took them from the released checkpoints. ``published`` has the released widths for
measuring; a real checkpoint is read from its own configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from energon_prep.encoders.model_info import ModelInfo
from energon_prep.encoders.visual_classes import DiffusersClass

_NARROW = [8, 8, 16, 16]

#: vae/config.json of Wan-AI/Wan2.2-TI2V-5B-Diffusers
_WAN22_MEAN = [
    *(
        -0.2289,
        -0.0052,
        -0.1323,
        -0.2339,
        -0.2799,
        0.0174,
        0.1838,
        0.1557,
        -0.1382,
        0.0542,
        0.2813,
        0.0891,
    ),
    *(
        0.1570,
        -0.0098,
        0.0375,
        -0.1825,
        -0.2246,
        -0.1207,
        -0.0698,
        0.5109,
        0.2665,
        -0.2108,
        -0.2158,
        0.2502,
    ),
    *(
        -0.2055,
        -0.0322,
        0.1109,
        0.1567,
        -0.0729,
        0.0899,
        -0.2799,
        -0.1230,
        -0.0313,
        -0.1649,
        0.0117,
        0.0723,
    ),
    *(
        -0.2839,
        -0.2083,
        -0.0520,
        0.3748,
        0.0152,
        0.1957,
        0.1433,
        -0.2944,
        0.3573,
        -0.0548,
        -0.1681,
        -0.0667,
    ),
]
_WAN22_STD = [
    *(
        0.4765,
        1.0364,
        0.4514,
        1.1677,
        0.5313,
        0.4990,
        0.4818,
        0.5013,
        0.8158,
        1.0344,
        0.5894,
        1.0901,
    ),
    *(
        0.6885,
        0.6165,
        0.8454,
        0.4978,
        0.5759,
        0.3523,
        0.7135,
        0.6804,
        0.5833,
        1.4146,
        0.8986,
        0.5659,
    ),
    *(
        0.7069,
        0.5338,
        0.4889,
        0.4917,
        0.4069,
        0.4999,
        0.6866,
        0.4093,
        0.5709,
        0.6065,
        0.6415,
        0.4944,
    ),
    *(
        0.5726,
        1.2042,
        0.5458,
        1.6887,
        0.3971,
        1.0600,
        0.3943,
        0.5537,
        0.5444,
        0.4089,
        0.7468,
        0.7744,
    ),
]


def _model(
    alias: str,
    hf_id: str,
    family: DiffusersClass,
    *,
    subfolder: str = "vae",
    shared: Mapping[str, Any] | None = None,
    tiny: Mapping[str, Any],
    published: Mapping[str, Any] | None = None,
) -> ModelInfo:
    """``shared``: what tiny and published weights have in common and the class does not say by
    itself.
    """
    return ModelInfo(
        alias=alias,
        hf_id=hf_id,
        family=family,
        subfolder=subfolder,
        tiny={**(shared or {}), **tiny},
        published={**(shared or {}), **(published or {})},
    )


def _kl(
    alias: str,
    hf_id: str,
    *,
    subfolder: str = "vae",
    channels: int,
    scale: float,
    shift: float | None = None,
    quant_conv: bool = True,
    sample_size: int = 1024,
) -> ModelInfo:
    shared = {
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "latent_channels": channels,
        "scaling_factor": scale,
        "shift_factor": shift,
        "use_quant_conv": quant_conv,
        "use_post_quant_conv": quant_conv,
        "sample_size": sample_size,
    }
    return _model(
        alias,
        hf_id,
        "AutoencoderKL",
        subfolder=subfolder,
        shared=shared,
        tiny={"block_out_channels": _NARROW, "layers_per_block": 1, "norm_num_groups": 4},
        published={
            "block_out_channels": [128, 256, 512, 512],
            "layers_per_block": 2,
            "norm_num_groups": 32,
        },
    )


def _wan21(alias: str, hf_id: str) -> ModelInfo:
    return _model(alias, hf_id, "AutoencoderKLWan", tiny={"base_dim": 8, "num_res_blocks": 1})


def _cosmos_jit(kind: str, *, spatial: int, temporal: int = 1) -> ModelInfo:
    """``kind``: CV (video) or CI (image), as in the names of the published tokenizers."""
    factors = f"{temporal}x{spatial}x{spatial}" if kind == "CV" else f"{spatial}x{spatial}"
    shared = {
        "latent_channels": 16,
        "spatial_factor": spatial,
        "temporal_factor": temporal,
        "image": kind == "CI",
    }
    return ModelInfo(
        alias=f"cosmos-{kind.lower()}{factors}",
        hf_id=f"nvidia/Cosmos-0.1-Tokenizer-{kind}{factors}",
        family="cosmos-jit",
        tiny={**shared, "widths": [8, 8, 16], "num_blocks": 1},
        published={**shared, "widths": [256, 512, 512], "num_blocks": 2},
    )


def _dc_blocks(layers: int) -> dict[str, Any]:
    blocks = ["ResBlock"] * 3 + ["EfficientViTBlock"] * 3
    return {
        "encoder_block_types": blocks,
        "decoder_block_types": blocks,
        "encoder_layers_per_block": [min(layers, 2)] * 3 + [layers] * 3,
        "decoder_layers_per_block": [layers] * 6,
        "downsample_block_type": "Conv",
        "upsample_block_type": "interpolate",
        "scaling_factor": 0.41407,
    }


_IMAGE_MODELS = (
    _kl(
        "flux1",
        "black-forest-labs/FLUX.1-dev",
        channels=16,
        scale=0.3611,
        shift=0.1159,
        quant_conv=False,
    ),
    _kl("sdxl", "madebyollin/sdxl-vae-fp16-fix", subfolder="", channels=4, scale=0.13025),
    _kl(
        "sd-mse",
        "stabilityai/sd-vae-ft-mse",
        subfolder="",
        channels=4,
        scale=0.18215,
        sample_size=256,
    ),
    _kl(
        "sd3",
        "stabilityai/stable-diffusion-3-medium-diffusers",
        channels=16,
        scale=1.5305,
        shift=0.0609,
        quant_conv=False,
    ),
    _model(
        "flux2",
        "black-forest-labs/FLUX.2-dev",
        "AutoencoderKLFlux2",
        tiny={"block_out_channels": _NARROW, "layers_per_block": 1, "norm_num_groups": 4},
    ),
    _model(
        "dc-ae",
        "mit-han-lab/dc-ae-f32c32-sana-1.0-diffusers",
        "AutoencoderDC",
        subfolder="",
        tiny={
            **_dc_blocks(1),
            "attention_head_dim": 8,
            "encoder_block_out_channels": [8, 8, 8, 16, 16, 32],
            "decoder_block_out_channels": [8, 8, 8, 16, 16, 32],
        },
        published=_dc_blocks(3),
    ),
)

_VIDEO_MODELS = (
    _wan21("wan2.1", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"),
    _wan21("wan2.2-a14b", "Wan-AI/Wan2.2-T2V-A14B-Diffusers"),  # the VAE of 2.1
    _model(
        "wan2.2",
        "Wan-AI/Wan2.2-TI2V-5B-Diffusers",
        "AutoencoderKLWan",
        shared={
            "z_dim": 48,
            "is_residual": True,
            "patch_size": 2,
            "in_channels": 12,
            "out_channels": 12,
            "scale_factor_spatial": 16,
            "latents_mean": _WAN22_MEAN,
            "latents_std": _WAN22_STD,
        },
        tiny={"base_dim": 8, "decoder_base_dim": 8, "num_res_blocks": 1},
        published={"base_dim": 160, "decoder_base_dim": 256},
    ),
    _model(
        "qwen-image",
        "Qwen/Qwen-Image",
        "AutoencoderKLQwenImage",
        tiny={"base_dim": 8, "num_res_blocks": 1},
    ),
    _model(
        "cosmos1-cv8x8x8",
        "nvidia/Cosmos-1.0-Tokenizer-CV8x8x8",
        "AutoencoderKLCosmos",
        tiny={
            "encoder_block_out_channels": _NARROW,
            "decode_block_out_channels": [8, 16, 16, 16],
            "num_layers": 1,
        },
    ),
    _model(
        "hunyuan-video",
        "hunyuanvideo-community/HunyuanVideo",
        "AutoencoderKLHunyuanVideo",
        tiny={"block_out_channels": _NARROW, "layers_per_block": 1, "norm_num_groups": 4},
    ),
    _model(
        "hunyuan-video-1.5",
        "hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-480p_t2v",
        "AutoencoderKLHunyuanVideo15",
        tiny={"block_out_channels": [16, 16, 32, 64, 64], "layers_per_block": 1},
    ),
    _model(
        "ltx-video",
        "Lightricks/LTX-Video",
        "AutoencoderKLLTXVideo",
        tiny={
            "block_out_channels": _NARROW,
            "decoder_block_out_channels": _NARROW,
            "layers_per_block": [1] * 5,
            "decoder_layers_per_block": [1] * 5,
        },
    ),
    _model(
        "cogvideox",
        "zai-org/CogVideoX-5b",
        "AutoencoderKLCogVideoX",
        shared={"scaling_factor": 0.7},  # of the 5B models; 2B's is the class's default
        tiny={"block_out_channels": _NARROW, "layers_per_block": 1, "norm_num_groups": 4},
    ),
    _model(
        "mochi",
        "genmo/mochi-1-preview",
        "AutoencoderKLMochi",
        tiny={
            # the least that its normalisation in groups of 32 takes
            "encoder_block_out_channels": [32] * 4,
            "decoder_block_out_channels": [32] * 4,
            "layers_per_block": [1] * 5,
        },
    ),
    _cosmos_jit("CV", temporal=4, spatial=8),
    _cosmos_jit("CV", temporal=8, spatial=8),
    _cosmos_jit("CV", temporal=8, spatial=16),
    _cosmos_jit("CI", spatial=8),
    _cosmos_jit("CI", spatial=16),
)

VISUAL_MODELS = _IMAGE_MODELS + _VIDEO_MODELS
