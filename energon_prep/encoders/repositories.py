"""What is known of published repositories before they are asked: parts, sizes, licences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Part:
    """One encoder in a repository."""

    alias: str
    #: of what is downloaded to load it, about: parameters times the bytes of the published dtype
    gigabytes: float


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A repository on the Hugging Face hub."""

    hf_id: str  #: owner/name
    licence: str
    gated: bool = False  #: its files are given to those alone who have accepted its terms
    parts: Mapping[str, Part]  #: by subfolder; "" is the root


def pipeline_has(pipeline: str, alias: str, subfolder: str) -> bool:
    """Whether the model ``alias`` is in that ``subfolder``; of a repository that is not known here
    it is assumed.
    """
    known = REPOSITORIES.get(pipeline)
    return known is None or (subfolder in known.parts and known.parts[subfolder].alias == alias)


def smaller_place(alias: str, gigabytes: float) -> tuple[str, float] | None:
    """An open repository, and its gigabytes, that has ``alias`` in 5 GB less than ``gigabytes`` or
    better.

    It can be named by its id alone: the model is where a pipeline's first text encoder or VAE is.
    """
    places = [
        (part.gigabytes, repository.hf_id)
        for repository in REPOSITORIES.values()
        for subfolder, part in repository.parts.items()
        if part.alias == alias and subfolder in ("", "vae", "text_encoder") and not repository.gated
    ]
    least, hf_id = min(places, default=(gigabytes, ""))
    return (hf_id, least) if gigabytes - least > 5 else None


def _repository(
    hf_id: str, licence: str, *, gated: bool = False, **parts: tuple[str, float]
) -> Repository:
    return Repository(
        hf_id=hf_id,
        licence=licence,
        gated=gated,
        parts={name: Part(alias=alias, gigabytes=size) for name, (alias, size) in parts.items()},
    )


def _single(alias: str, hf_id: str, licence: str, gigabytes: float) -> Repository:
    """A repository with one model at its root."""
    part = Part(alias=alias, gigabytes=gigabytes)
    return Repository(hf_id=hf_id, licence=licence, parts={"": part})


_CLIP_L = ("clip-l", 0.25)  # these three as bf16 or fp16 have them
_T5_XXL = ("t5-xxl", 9.5)
_UMT5_XXL = ("umt5-xxl", 11.4)
_NVIDIA = "NVIDIA Open Model License"
_APACHE = "Apache-2.0"

_PIPELINES = (
    _repository(
        "black-forest-labs/FLUX.1-dev",
        "FLUX.1 [dev] Non-Commercial License",
        gated=True,
        vae=("flux1", 0.17),
        text_encoder=_CLIP_L,
        text_encoder_2=_T5_XXL,
    ),
    _repository(
        "black-forest-labs/FLUX.1-schnell",
        _APACHE,
        gated=True,
        vae=("flux1", 0.17),
        text_encoder=_CLIP_L,
        text_encoder_2=_T5_XXL,
    ),
    _repository(
        "black-forest-labs/FLUX.2-dev",
        "FLUX.2-dev Non-Commercial License",
        gated=True,
        vae=("flux2", 0.34),
    ),
    _repository(
        "stabilityai/stable-diffusion-3-medium-diffusers",
        "Stability AI Community License",
        gated=True,
        vae=("sd3", 0.17),
        text_encoder=_CLIP_L,
        text_encoder_2=("clip-g", 1.4),
        text_encoder_3=_T5_XXL,
    ),
    _repository(
        "stabilityai/stable-diffusion-xl-base-1.0",
        "CreativeML Open RAIL++-M",
        vae=("sdxl", 0.33),
        text_encoder=("clip-l", 0.49),
        text_encoder_2=("clip-g", 2.8),
    ),
    # Its text encoder is in fp32; the same one is in bf16 in the repositories of 2.2.
    _repository(
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        _APACHE,
        vae=("wan2.1", 0.51),
        text_encoder=("umt5-xxl", 22.7),
    ),
    _repository(
        "Wan-AI/Wan2.2-T2V-A14B-Diffusers", _APACHE, vae=("wan2.1", 0.51), text_encoder=_UMT5_XXL
    ),
    _repository(
        "Wan-AI/Wan2.2-TI2V-5B-Diffusers", _APACHE, vae=("wan2.2", 2.8), text_encoder=_UMT5_XXL
    ),
    _repository(
        "Qwen/Qwen-Image", _APACHE, vae=("qwen-image", 0.25), text_encoder=("qwen2.5-vl-7b", 16.6)
    ),
    _repository(
        "nvidia/Cosmos-1.0-Diffusion-7B-Text2World",
        _NVIDIA,
        vae=("cosmos1-cv8x8x8", 0.21),
        text_encoder=("t5-11b", 9.7),
    ),
    _repository("nvidia/Cosmos-1.0-Tokenizer-CV8x8x8", _NVIDIA, vae=("cosmos1-cv8x8x8", 0.21)),
    _repository(
        "hunyuanvideo-community/HunyuanVideo",
        "Tencent Hunyuan Community License",
        vae=("hunyuan-video", 0.99),
        text_encoder=("llama-3-8b-hunyuan", 15.0),
        text_encoder_2=_CLIP_L,
    ),
    _repository(
        "hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-480p_t2v",
        "Tencent Hunyuan Community License",
        vae=("hunyuan-video-1.5", 5.0),
        text_encoder=("qwen2.5-vl-7b", 14.1),
    ),
    _repository(
        "Lightricks/LTX-Video",
        "LTX-Video Open Weights License",
        vae=("ltx-video", 1.7),
        text_encoder=("t5-xxl", 19.0),
    ),
    _repository(
        "zai-org/CogVideoX-5b", "CogVideoX License", vae=("cogvideox", 0.43), text_encoder=_T5_XXL
    ),
    _repository(
        "genmo/mochi-1-preview", _APACHE, vae=("mochi", 0.92), text_encoder=("t5-xxl", 19.0)
    ),
    _repository(
        "Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers",
        "NSCL v2-custom; Gemma Terms of Use",
        vae=("dc-ae", 1.2),
        text_encoder=("gemma-2-2b-it", 5.2),
    ),
)

_SINGLE_MODELS = (
    _single("sdxl", "madebyollin/sdxl-vae-fp16-fix", "MIT", 0.33),
    _single("sd-mse", "stabilityai/sd-vae-ft-mse", "MIT", 0.33),
    _single("dc-ae", "mit-han-lab/dc-ae-f32c32-sana-1.0-diffusers", "NSCL v2-custom", 1.2),
    _single("cosmos-cv4x8x8", "nvidia/Cosmos-0.1-Tokenizer-CV4x8x8", _NVIDIA, 0.1),
    _single("cosmos-cv8x8x8", "nvidia/Cosmos-0.1-Tokenizer-CV8x8x8", _NVIDIA, 0.1),
    _single("cosmos-cv8x16x16", "nvidia/Cosmos-0.1-Tokenizer-CV8x16x16", _NVIDIA, 0.1),
    _single("cosmos-ci8x8", "nvidia/Cosmos-0.1-Tokenizer-CI8x8", _NVIDIA, 0.1),
    _single("cosmos-ci16x16", "nvidia/Cosmos-0.1-Tokenizer-CI16x16", _NVIDIA, 0.1),
    _single("t5-small", "google-t5/t5-small", _APACHE, 0.24),
    _single("t5-base", "google-t5/t5-base", _APACHE, 0.89),
    _single("t5-large", "google-t5/t5-large", _APACHE, 3.0),
    _single("t5-3b", "google-t5/t5-3b", _APACHE, 11.4),
    # these four have encoder and decoder in fp32
    _single("t5-11b", "google-t5/t5-11b", _APACHE, 45.2),
    _single("t5-xxl", "google/t5-v1_1-xxl", _APACHE, 44.5),
    _single("flan-t5-xxl", "google/flan-t5-xxl", _APACHE, 45.1),
    _single("umt5-xxl", "google/umt5-xxl", _APACHE, 51.9),
    _single("clip-l", "openai/clip-vit-large-patch14", "MIT", 1.7),
    _single(
        "clip-h-dfn5b",
        "apple/DFN5B-CLIP-ViT-H-14-378",
        "Apple Machine Learning Research License",
        3.9,
    ),
    _single("gemma-2-2b-it", "Efficient-Large-Model/gemma-2-2b-it", "Gemma Terms of Use", 5.2),
)

REPOSITORIES: Mapping[str, Repository] = {
    known.hf_id: known for known in (*_PIPELINES, *_SINGLE_MODELS)
}
