"""Station 3, encoders: the visual encoders that have a short name here."""

from __future__ import annotations

from energon_prep.encoders.model_info import ModelInfo


def _vae(
    alias: str,
    hf_id: str,
    *,
    subfolder: str = "",
    channels: int,
    scale: float,
    shift: float | None = None,
    quant_conv: bool = True,
) -> ModelInfo:
    shared = {
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "latent_channels": channels,
        "scaling_factor": scale,
        "shift_factor": shift,
        "use_quant_conv": quant_conv,
        "use_post_quant_conv": quant_conv,
        "sample_size": 1024,
    }
    return ModelInfo(
        alias=alias,
        hf_id=hf_id,
        family="autoencoder-kl",
        subfolder=subfolder,
        tiny={**shared, "block_out_channels": [8, 8, 16, 16], "layers_per_block": 1, "norm_num_groups": 4},
        published={
            **shared,
            "block_out_channels": [128, 256, 512, 512],
            "layers_per_block": 2,
            "norm_num_groups": 32,
        },
    )


def _cosmos(kind: str, *, spatial: int, temporal: int = 1) -> ModelInfo:
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


VISUAL_MODELS = (
    _vae(
        "flux1",
        "black-forest-labs/FLUX.1-dev",
        subfolder="vae",
        channels=16,
        scale=0.3611,
        shift=0.1159,
        quant_conv=False,
    ),
    _vae("sdxl", "madebyollin/sdxl-vae-fp16-fix", channels=4, scale=0.13025),
    _vae("sd-mse", "stabilityai/sd-vae-ft-mse", channels=4, scale=0.18215),
    _vae(
        "sd3",
        "stabilityai/stable-diffusion-3-medium-diffusers",
        subfolder="vae",
        channels=16,
        scale=1.5305,
        shift=0.0609,
        quant_conv=False,
    ),
    _cosmos("CV", temporal=4, spatial=8),
    _cosmos("CV", temporal=8, spatial=8),
    _cosmos("CV", temporal=8, spatial=16),
    _cosmos("CI", spatial=8),
    _cosmos("CI", spatial=16),
)
