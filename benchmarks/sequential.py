"""What the published scripts do: one sample at a time, decoded whole, captions padded, tars by
webdataset.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import av
import diffusers
import numpy as np
import torch
import transformers
import webdataset as wds
from PIL import Image

#: Name -> (class, subfolder, tokenizer's subfolder) in a pipeline's folder.
_Texts = dict[str, tuple[str, str, str]]


def encode_images(
    raw: Path, dest: Path, models: dict[str, Any], *, limit: int | None = None, size: int = 512
) -> int:
    """FLUX: AutoencoderKL, T5 padded to 512, CLIP padded to 77. Returns the number of samples."""
    vae, num = models["vae"], 0
    with _writer(dest) as writer:
        for path, caption in islice(_samples(raw, "*.jpg"), limit):
            image = _center_crop(Image.open(path).convert("RGB"), size)
            pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1
            with torch.no_grad():
                latent = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.sample()
                latent = (latent - vae.config.shift_factor) * vae.config.scaling_factor
                t5 = _embed(models["t5"], models["t5_tokenizer"], caption, 512).last_hidden_state[0]
                pooled = _embed(
                    models["clip"], models["clip_tokenizer"], caption, 77
                ).pooler_output[0]
            text = {"prompt_embeds": t5.cpu(), "pooled_prompt_embeds": pooled.cpu()}
            writer.write(_sample(num, latent[0].cpu(), text, {"caption": caption}))
            num += 1
    return num


def encode_clips(raw: Path, dest: Path, models: dict[str, Any], *, limit: int | None = None) -> int:
    """WAN: AutoencoderKLWan on 240x416, UMT5 padded to 512. Returns the number of samples."""
    vae, num = models["vae"], 0
    mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1, 1).to(vae.device, vae.dtype)
    std = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1).to(vae.device, vae.dtype)
    with _writer(dest) as writer:
        for path, caption in islice(_samples(raw, "*.mp4"), limit):
            with av.open(str(path)) as container:
                frames = [
                    frame.to_image().resize((416, 240)) for frame in container.decode(video=0)
                ]
            clip = torch.from_numpy(np.stack([np.asarray(frame) for frame in frames]))
            pixels = clip.permute(3, 0, 1, 2)[None].float() / 127.5 - 1  # [1, 3, T, H, W]
            with torch.no_grad():
                latent = (
                    vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mode() - mean
                ) / std
                text = _embed(
                    models["umt5"], models["umt5_tokenizer"], caption, 512
                ).last_hidden_state[0]
            writer.write(_sample(num, latent[0].cpu(), text.cpu(), {"caption": caption}))
            num += 1
    return num


@dataclass(frozen=True, kw_only=True)
class Script:
    """A script and the models it loads from a pipeline's folder."""

    vae: str
    texts: _Texts
    encode: Callable[..., int]

    def load(self, pipeline: Path, *, device: str, dtype: torch.dtype) -> dict[str, Any]:
        models: dict[str, Any] = {"vae": _load(diffusers, self.vae, pipeline, "vae", device, dtype)}
        for name, (text_class, subfolder, tokenizer) in self.texts.items():
            models[name] = _load(transformers, text_class, pipeline, subfolder, device, dtype)
            models[f"{name}_tokenizer"] = transformers.AutoTokenizer.from_pretrained(
                pipeline, subfolder=tokenizer
            )
        return models


SCRIPTS = {
    "images": Script(
        vae="AutoencoderKL",
        texts={
            "t5": ("T5EncoderModel", "text_encoder_2", "tokenizer_2"),
            "clip": ("CLIPTextModel", "text_encoder", "tokenizer"),
        },
        encode=encode_images,
    ),
    "clips": Script(
        vae="AutoencoderKLWan",
        texts={"umt5": ("UMT5EncoderModel", "text_encoder", "tokenizer")},
        encode=encode_clips,
    ),
}


def _load(
    library: Any, name: str, pipeline: Path, subfolder: str, device: str, dtype: torch.dtype
) -> Any:
    model = getattr(library, name).from_pretrained(pipeline, subfolder=subfolder, torch_dtype=dtype)
    return model.to(device).eval()


def _samples(raw: Path, pattern: str) -> Iterator[tuple[Path, str]]:
    for path in sorted(raw.glob(pattern)):
        yield path, path.with_suffix(".txt").read_text()


def _center_crop(image: Image.Image, size: int) -> Image.Image:
    scale = size / min(image.size)
    image = image.resize(
        (max(size, round(image.width * scale)), max(size, round(image.height * scale))),
        Image.LANCZOS,
    )
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def _embed(model: Any, tokenizer: Any, caption: str, length: int) -> Any:
    tokens = tokenizer(
        caption, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    return model(input_ids=tokens.input_ids.to(model.device))


def _writer(dest: Path) -> Any:
    dest.mkdir(parents=True, exist_ok=True)
    return wds.ShardWriter(f"{dest}/shard_%06d.tar", maxcount=1000, verbose=0)


def _sample(number: int, latent: torch.Tensor, text: Any, info: dict[str, Any]) -> dict[str, Any]:
    return {
        "__key__": f"{number:06d}",
        "pth": latent,
        "pickle": pickle.dumps(text),
        "json": json.dumps(info).encode(),
    }
