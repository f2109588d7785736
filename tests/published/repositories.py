"""The repositories behind the tool's short names, as they are published; of pipelines, the parts
that encode.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from energon_prep.encoders.catalog import CATALOG
from energon_prep.encoders.quiet import quiet_libraries
from tests.published import clip, language_models, t5, tokenizer_files
from tests.published.autoencoders import autoencoder, cosmos_jit
from tests.published.files import write_json

Build = Callable[[Path], None]

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def snapshot(hub: Path, hf_id: str) -> Path:
    """The folder of a repository's files in the hub's local cache ``hub``, built if it is not there
    yet.
    """
    folder = hub / f"models--{hf_id.replace('/', '--')}"
    files = folder / "snapshots" / COMMIT
    if not files.is_dir():
        (folder / "refs").mkdir(parents=True)
        (folder / "refs/main").write_text(COMMIT)
        with quiet_libraries():
            REPOSITORIES[hf_id](files)
    return files


def _t5_small(
    folder: Path, *, alias: str, pickled: bool = False, tokenizer_config: bool = True
) -> None:
    num = tokenizer_files.t5_with_json(folder, config=tokenizer_config)
    t5.whole(folder, alias, num, pickled=pickled)


def _t5_xxl(folder: Path) -> None:
    t5.whole(folder, "t5-xxl", tokenizer_files.t5(folder), pickled=True)


def _flan(folder: Path) -> None:
    t5.whole(folder, "flan-t5-xxl", tokenizer_files.t5_with_json(folder), shards=5)


def _umt5(folder: Path) -> None:
    t5.whole(folder, "umt5-xxl", tokenizer_files.umt5(folder), shards=3, pickled=True)


def _clip_l(folder: Path) -> None:
    clip.whole(folder, "clip-l", tokenizer_files.clip(folder, json=True))


def _clip_h(folder: Path) -> None:
    clip.whole(folder, "clip-h-dfn5b", tokenizer_files.clip(folder), pickled=True)
    write_json(folder / "open_clip_config.json", {"model_cfg": {"embed_dim": 1024}})


def _gemma(folder: Path) -> None:
    language_models.gemma(folder, "gemma-2-2b-it", tokenizer_files.gemma(folder))


def _vae_alone(folder: Path, *, alias: str) -> None:
    autoencoder(folder / CATALOG[alias].subfolder, alias)


def _cosmos(folder: Path, *, alias: str) -> None:
    cosmos_jit(folder, alias)


def _stable_diffusion_xl(folder: Path) -> None:
    autoencoder(folder / "vae", "sdxl")
    _clip_of_a_pipeline(folder, "", "clip-l")
    _clip_of_a_pipeline(folder, "_2", "clip-g", projection=True, pad_token="!")
    _index(folder, "StableDiffusionXLPipeline", vae="AutoencoderKL")


def _stable_diffusion_3(folder: Path) -> None:
    autoencoder(folder / "vae", "sd3")
    _clip_of_a_pipeline(folder, "", "clip-l", projection=True)
    _clip_of_a_pipeline(folder, "_2", "clip-g", projection=True, pad_token="!")
    num = tokenizer_files.t5_with_json(folder / "tokenizer_3")
    t5.encoder(folder / "text_encoder_3", "t5-xxl", num)
    _index(folder, "StableDiffusion3Pipeline", vae="AutoencoderKL")


def _flux1(folder: Path) -> None:
    autoencoder(folder / "vae", "flux1")
    _clip_of_a_pipeline(folder, "", "clip-l")
    t5.encoder(
        folder / "text_encoder_2", "t5-xxl", tokenizer_files.t5_with_json(folder / "tokenizer_2")
    )
    _index(folder, "FluxPipeline", vae="AutoencoderKL")


def _of_t5(folder: Path, *, vae: str, pipeline: str, max_tokens: int) -> None:
    """LTX-Video, CogVideoX and Mochi: T5-XXL with ``spiece.model`` alone."""
    autoencoder(folder / "vae", vae)
    num = tokenizer_files.t5_of_a_pipeline(folder / "tokenizer", max_tokens=max_tokens)
    t5.encoder(folder / "text_encoder", "t5-xxl", num, shards=4)
    _index(folder, pipeline, vae=CATALOG[vae].family)


def _wan(folder: Path, *, vae: str, embeddings: str = "shared.weight") -> None:
    autoencoder(folder / "vae", vae)
    num = tokenizer_files.umt5(folder / "tokenizer")
    t5.encoder(folder / "text_encoder", "umt5-xxl", num, shards=5, embeddings=embeddings)
    _index(folder, "WanPipeline", vae="AutoencoderKLWan")


def _hunyuan(folder: Path) -> None:
    autoencoder(folder / "vae", "hunyuan-video")
    num = tokenizer_files.llama(folder / "tokenizer")
    language_models.llama(folder / "text_encoder", "llama-3-8b-hunyuan", num)
    _clip_of_a_pipeline(folder, "_2", "clip-l")
    _index(folder, "HunyuanVideoPipeline", vae="AutoencoderKLHunyuanVideo")


def _hunyuan15(folder: Path) -> None:
    autoencoder(folder / "vae", "hunyuan-video-1.5")
    num = tokenizer_files.qwen(folder / "tokenizer")
    language_models.qwen_text(folder / "text_encoder", "qwen2.5-vl-7b", num)
    _index(folder, "HunyuanVideo15Pipeline", vae="AutoencoderKLHunyuanVideo15")


def _qwen_image(folder: Path) -> None:
    autoencoder(folder / "vae", "qwen-image")
    num = tokenizer_files.qwen(folder / "tokenizer")
    language_models.qwen(folder / "text_encoder", "qwen2.5-vl-7b", num)
    _index(folder, "QwenImagePipeline", vae="AutoencoderKLQwenImage")


def _sana(folder: Path) -> None:
    autoencoder(folder / "vae", "dc-ae")
    language_models.gemma(
        folder / "text_encoder", "gemma-2-2b-it", tokenizer_files.gemma(folder / "tokenizer")
    )
    _index(folder, "SanaPipeline", vae="AutoencoderDC")


def _cosmos_diffusion(folder: Path) -> None:
    autoencoder(folder / "vae", "cosmos1-cv8x8x8")
    num = tokenizer_files.t5_with_json(folder / "tokenizer")
    t5.encoder(folder / "text_encoder", "t5-11b", num)
    _index(folder, "CosmosTextToWorldPipeline", vae="AutoencoderKLCosmos")


def _clip_of_a_pipeline(
    folder: Path,
    suffix: str,
    alias: str,
    *,
    projection: bool = False,
    pad_token: str = "<|endoftext|>",
) -> None:
    num = tokenizer_files.clip(folder / f"tokenizer{suffix}", pad_token=pad_token)
    clip.text_encoder(folder / f"text_encoder{suffix}", alias, num, projection=projection)


def _index(folder: Path, pipeline: str, *, vae: str) -> None:
    write_json(folder / "model_index.json", {"_class_name": pipeline, "vae": ["diffusers", vae]})


#: Hub id -> what builds a folder of its files.
REPOSITORIES: dict[str, Build] = {
    "google-t5/t5-small": functools.partial(_t5_small, alias="t5-small"),
    "google-t5/t5-base": functools.partial(_t5_small, alias="t5-base"),
    "google-t5/t5-large": functools.partial(_t5_small, alias="t5-large"),
    "google-t5/t5-3b": functools.partial(_t5_small, alias="t5-3b", tokenizer_config=False),
    "google-t5/t5-11b": functools.partial(
        _t5_small, alias="t5-11b", pickled=True, tokenizer_config=False
    ),
    "google/t5-v1_1-xxl": _t5_xxl,
    "google/flan-t5-xxl": _flan,
    "google/umt5-xxl": _umt5,
    "openai/clip-vit-large-patch14": _clip_l,
    "apple/DFN5B-CLIP-ViT-H-14-378": _clip_h,
    "Efficient-Large-Model/gemma-2-2b-it": _gemma,
    "madebyollin/sdxl-vae-fp16-fix": functools.partial(_vae_alone, alias="sdxl"),
    "stabilityai/sd-vae-ft-mse": functools.partial(_vae_alone, alias="sd-mse"),
    "black-forest-labs/FLUX.2-dev": functools.partial(_vae_alone, alias="flux2"),
    "mit-han-lab/dc-ae-f32c32-sana-1.0-diffusers": functools.partial(_vae_alone, alias="dc-ae"),
    "nvidia/Cosmos-1.0-Tokenizer-CV8x8x8": functools.partial(_vae_alone, alias="cosmos1-cv8x8x8"),
    **{
        info.hf_id: functools.partial(_cosmos, alias=info.alias)
        for info in CATALOG.values()
        if info.family == "cosmos-jit"
    },
    "stabilityai/stable-diffusion-xl-base-1.0": _stable_diffusion_xl,
    "stabilityai/stable-diffusion-3-medium-diffusers": _stable_diffusion_3,
    "black-forest-labs/FLUX.1-dev": _flux1,
    "black-forest-labs/FLUX.1-schnell": _flux1,
    "Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers": _sana,
    "nvidia/Cosmos-1.0-Diffusion-7B-Text2World": _cosmos_diffusion,
    "Lightricks/LTX-Video": functools.partial(
        _of_t5, vae="ltx-video", pipeline="LTXPipeline", max_tokens=128
    ),
    "zai-org/CogVideoX-5b": functools.partial(
        _of_t5, vae="cogvideox", pipeline="CogVideoXPipeline", max_tokens=226
    ),
    "genmo/mochi-1-preview": functools.partial(
        _of_t5, vae="mochi", pipeline="MochiPipeline", max_tokens=256
    ),
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": functools.partial(_wan, vae="wan2.1"),
    "Wan-AI/Wan2.2-T2V-A14B-Diffusers": functools.partial(
        _wan, vae="wan2.2-a14b", embeddings="encoder.embed_tokens.weight"
    ),
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers": functools.partial(_wan, vae="wan2.2"),
    "hunyuanvideo-community/HunyuanVideo": _hunyuan,
    "hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-480p_t2v": _hunyuan15,
    "Qwen/Qwen-Image": _qwen_image,
}
