"""Visual encoders as published: autoencoders of diffusers, and NVIDIA's Cosmos tokenizers in
TorchScript.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import nn

from energon_prep.demo.tiny.cosmos import CosmosEncoder
from energon_prep.encoders.catalog import CATALOG
from tests.published.files import random_model, write_json, write_safetensors

#: Arguments that AutoencoderKL got after Stable Diffusion's autoencoders were published.
_LATER_KL = ("latents_mean", "latents_std", "mid_block_add_attention", "shift_factor")
_LATER_KL += ("use_post_quant_conv", "use_quant_conv")
_LATER_WAN = ("decoder_base_dim", "in_channels", "is_residual", "out_channels", "patch_size")
_LATER_WAN += ("scale_factor_spatial", "scale_factor_temporal")
#: The decoder's own widths, which are later too, stay: without them it would be as wide as
#: published.
_LATER_LTX = (
    "decoder_inject_noise",
    "decoder_spatio_temporal_scaling",
    "down_block_types",
    "downsample_type",
)
_LATER_LTX += ("spatial_compression_ratio", "temporal_compression_ratio", "timestep_conditioning")
_LATER_LTX += ("upsample_factor", "upsample_residual")


@dataclass(frozen=True, kw_only=True)
class _File:
    version: str  #: of diffusers, which wrote config.json
    absent: tuple[str, ...] = ()  #: arguments of the class that config.json does not have
    dtype: torch.dtype = torch.float32
    pickled: bool = False  #: a .bin beside the .safetensors
    old_attention: bool = False  #: names of before diffusers 0.16
    #: besides the catalog's and the class's own values
    says: Mapping[str, Any] = field(default_factory=dict)


_FILES = {
    "flux1": _File(
        version="0.30.0.dev0",
        dtype=torch.bfloat16,
        says={"_name_or_path": "../checkpoints/flux-dev"},
    ),
    "sdxl": _File(
        version="0.18.0.dev0", absent=_LATER_KL, pickled=True, says={"force_upcast": False}
    ),
    "sd-mse": _File(
        version="0.4.2",
        absent=("force_upcast", "scaling_factor", *_LATER_KL),
        pickled=True,
        old_attention=True,
    ),
    "sd3": _File(version="0.29.0.dev0", absent=("mid_block_add_attention",), dtype=torch.float16),
    "flux2": _File(version="0.36.0.dev0", absent=("decoder_block_out_channels",)),
    "dc-ae": _File(
        version="0.32.0.dev0",
        absent=("decoder_conv_act_fn", "decoder_in_shortcut", "encoder_out_shortcut"),
    ),
    "wan2.1": _File(version="0.33.0.dev0", absent=_LATER_WAN),
    "wan2.2-a14b": _File(version="0.35.0.dev0", absent=_LATER_WAN),
    "wan2.2": _File(version="0.35.0.dev0", says={"clip_output": False}),
    "qwen-image": _File(version="0.34.0.dev0", absent=("input_channels",), dtype=torch.bfloat16),
    "cosmos1-cv8x8x8": _File(version="0.33.0.dev0", dtype=torch.bfloat16),
    "hunyuan-video": _File(version="0.32.0.dev0", dtype=torch.float16),
    "hunyuan-video-1.5": _File(version="0.36.0.dev0"),
    "ltx-video": _File(version="0.32.0.dev0", absent=_LATER_LTX, dtype=torch.bfloat16),
    "cogvideox": _File(
        version="0.31.0.dev0", absent=("invert_scale_latents",), dtype=torch.bfloat16
    ),
    "mochi": _File(version="0.32.0.dev0"),
}
_OLD_NAMES = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}


def autoencoder(folder: Path, alias: str) -> None:
    """config.json with the fields of its time, and ``diffusion_pytorch_model.safetensors``."""
    info, file = CATALOG[alias], _FILES[alias]
    model = random_model(getattr(diffusers, info.family), **info.tiny)
    config = {name: value for name, value in model.config.items() if name not in file.absent}
    about = {"_class_name": info.family, "_diffusers_version": file.version}
    write_json(folder / "config.json", {**config, **file.says, **about})
    state = {
        name: value.to(file.dtype) if value.is_floating_point() else value
        for name, value in _named(model, file)
    }
    write_safetensors(folder, state, stem="diffusion_pytorch_model")
    if file.pickled:
        torch.save(state, folder / "diffusion_pytorch_model.bin")


def cosmos_jit(folder: Path, alias: str) -> None:
    """``encoder.jit`` and its siblings in bf16, and a config.json that names no class of
    diffusers.
    """
    write_json(folder / "config.json", {"architectures": ["CosmosTokenizer"]})
    encoder = torch.jit.script(random_model(CosmosEncoder, **CATALOG[alias].tiny).eval())
    encoder.save(str(folder / "encoder.jit"))
    for name in ("decoder.jit", "autoencoder.jit"):
        torch.jit.script(nn.Identity()).save(str(folder / name))


def _named(model: Any, file: _File) -> list[tuple[str, torch.Tensor]]:
    named = list(model.state_dict().items())
    if not file.old_attention:
        return named
    for new, old in _OLD_NAMES.items():
        named = [
            (name.replace(new, old) if "attentions" in name else name, value)
            for name, value in named
        ]
    return named
