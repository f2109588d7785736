"""Station 3, encoders: the models that have a short name here, where they come from and what they are made of."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from energon_prep.errors import PrepError

Family = Literal["autoencoder-kl", "cosmos-jit", "t5", "umt5", "clip"]
Size = Literal["tiny", "random"]

VISUAL_FAMILIES: tuple[Family, ...] = ("autoencoder-kl", "cosmos-jit")
TEXT_FAMILIES: tuple[Family, ...] = ("t5", "umt5", "clip")
SUPPORTED = "AutoencoderKL (diffusers) and Cosmos (encoder.jit) for pixels, T5, UMT5 and CLIP (transformers) for text"

_HF_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A published model with a short name. ``tiny`` and ``published`` are arguments of its configuration class."""

    alias: str
    hf_id: str  #: owner/name on the Hugging Face hub
    family: Family
    subfolder: str = ""  #: of the repository; "" is its root
    tiny: Mapping[str, Any]  #: small, but with the dimensions that targets check: width, channels, factors
    published: Mapping[str, Any]  #: as released; a text encoder's ``vocab_size`` is among them

    def architecture(self, size: Size) -> dict[str, Any]:
        return dict(self.tiny if size == "tiny" else self.published)


def lookup(name: str) -> ModelInfo | None:
    """The model with the alias ``name``; None if ``name`` is a directory or a hub id, to be taken as it is.

    An alias wins over a directory of the same name: write ``./t5-small`` for the directory. Raises PrepError for
    a name that is none of the three.
    """
    if name in CATALOG:
        return CATALOG[name]
    if is_id_or_folder(name):
        return None
    if "/" in name or "\\" in name:
        raise PrepError(f"model '{name}': there is no such directory, and it is no hub id (owner/name) either")
    close = difflib.get_close_matches(name.lower(), CATALOG, n=1, cutoff=0.4)
    raise PrepError(
        f"unknown model '{name}'{f' (did you mean {close[0]}?)' if close else ''}: a model is a directory, "
        f"a hub id (owner/name) or one of: {', '.join(CATALOG)}"
    )


def is_id_or_folder(name: str) -> bool:
    """``name`` is a directory that exists, or has the form of a hub id."""
    return local_folder(name) is not None or _HF_ID.fullmatch(name) is not None


def local_folder(name: str) -> Path | None:
    """The directory ``name``, if there is one; "~" is the user's home."""
    try:
        folder = Path(name).expanduser()
    except RuntimeError:  # "~nobody"
        folder = Path(name)
    return folder if name and folder.is_dir() else None


def find(name: str) -> ModelInfo | None:
    """The model with this alias or this hub id."""
    return CATALOG.get(name) or next((info for info in CATALOG.values() if info.hf_id == name), None)


def family_of(config: Mapping[str, Any]) -> Family | None:
    """The family that a config.json belongs to; None if it is of no supported one."""
    if config.get("_class_name") == "AutoencoderKL":
        return "autoencoder-kl"
    families: dict[str, Family] = {"t5": "t5", "umt5": "umt5", "clip": "clip", "clip_text_model": "clip"}
    return families.get(str(config.get("model_type")))


def _t5(
    alias: str,
    hf_id: str,
    *,
    width: int,
    d_ff: int,
    d_kv: int = 64,
    heads: int,
    layers: int,
    gated: bool = False,
    family: Literal["t5", "umt5"] = "t5",
    vocab_size: int = 32128,
) -> ModelInfo:
    shared = {"d_model": width, "feed_forward_proj": "gated-gelu" if gated else "relu"}
    return ModelInfo(
        alias=alias,
        hf_id=hf_id,
        family=family,
        tiny={**shared, "d_ff": 64, "d_kv": 16, "num_heads": 2, "num_layers": 1},
        published={
            **shared,
            "d_ff": d_ff,
            "d_kv": d_kv,
            "num_heads": heads,
            "num_layers": layers,
            "vocab_size": vocab_size,
        },
    )


def _clip(alias: str, hf_id: str, *, width: int, layers: int, heads: int) -> ModelInfo:
    shared = {"hidden_size": width, "projection_dim": width, "max_position_embeddings": 77, "hidden_act": "quick_gelu"}
    return ModelInfo(
        alias=alias,
        hf_id=hf_id,
        family="clip",
        tiny={**shared, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 1},
        published={
            **shared,
            "intermediate_size": 4 * width,
            "num_attention_heads": heads,
            "num_hidden_layers": layers,
            "vocab_size": 49408,
        },
    )


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


_MODELS = (
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
    _t5("t5-small", "google-t5/t5-small", width=512, d_ff=2048, heads=8, layers=6),
    _t5("t5-base", "google-t5/t5-base", width=768, d_ff=3072, heads=12, layers=12),
    _t5("t5-large", "google-t5/t5-large", width=1024, d_ff=4096, heads=16, layers=24),
    _t5("t5-3b", "google-t5/t5-3b", width=1024, d_ff=16384, d_kv=128, heads=32, layers=24),
    _t5("t5-11b", "google-t5/t5-11b", width=1024, d_ff=65536, d_kv=128, heads=128, layers=24),
    _t5("t5-xxl", "google/t5-v1_1-xxl", width=4096, d_ff=10240, heads=64, layers=24, gated=True),
    _t5("flan-t5-xxl", "google/flan-t5-xxl", width=4096, d_ff=10240, heads=64, layers=24, gated=True),
    _t5(
        "umt5-xxl",
        "google/umt5-xxl",
        width=4096,
        d_ff=10240,
        heads=64,
        layers=24,
        gated=True,
        family="umt5",
        vocab_size=256384,
    ),
    _clip("clip-l", "openai/clip-vit-large-patch14", width=768, layers=12, heads=12),
)

CATALOG: dict[str, ModelInfo] = {info.alias: info for info in _MODELS}
