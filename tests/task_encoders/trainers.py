"""What each target stores, made of random numbers, with nothing of energon_prep; and how its loader
is opened.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from megatron.energon import WorkerConfig, get_savable_loader, get_train_dataset, reraise_exception

from cookers import LatentSample
from tests.datasets import Parts, torch_bytes, write_samples

IMAGE = (16, 1, 4, 4)
WIDE = (16, 1, 4, 6)
CLIP = (16, 5, 4, 6)  # 17 frames, of a tokenizer that keeps the first and makes one of four
WIDTH = 8
POOLED_WIDTH = 6


def numbers(serial: int, *shape: int) -> torch.Tensor:
    """Bfloat16 that tells the serial: its first number."""
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(serial)).bfloat16()
    tensor.view(-1)[0] = serial
    return tensor


def json_part(serial: int, shape: Sequence[int], **more: Any) -> dict[str, Any]:
    """Sizes as for a tokenizer of 8 x 8 pixels and 4 frames; the score is the serial."""
    _, frames, height, width = shape
    is_image = frames == 1
    info = {
        "key": f"{serial:09d}",
        "aesthetic_score": float(serial),
        "height": height * 8,
        "width": width * 8,
        "original_height": height * 16,
        "original_width": width * 16,
        "num_frames": 1 + (frames - 1) * 4,
        "framerate": None if is_image else 8.0,
        "latent_shape": list(shape),
    }
    return {
        **info,
        **({"image_height": height * 8, "image_width": width * 8} if is_image else {}),
        **more,
    }


def stored(
    target: str, serial: int, shape: Sequence[int], *, tokens: int = 3, width: int = WIDTH
) -> dict[str, Any]:
    """The parts of one sample, not serialised."""
    latent, text, info = (
        numbers(serial, *shape),
        numbers(serial, tokens, width),
        json_part(serial, shape),
    )
    pooled = numbers(serial, POOLED_WIDTH)
    if target == "nemo-dit":
        array = text.float().numpy().astype(np.float16)
        return {".json": info, ".pickle": array if shape[1] == 1 else [array], ".pth": latent}
    if target == "flux":
        embeddings = {"prompt_embeds": text, "pooled_prompt_embeds": pooled}
        return {"json": info, "pickle": embeddings, "pth": latent[:, 0].clone()}
    if target == "generic":
        return {
            "json": info,
            "pickle": {"t5": {"hidden": text}, "clip": {"pooled": pooled}},
            "pth": latent,
        }
    return {"json": info, "pickle": text, "pth": latent}


def serialized(parts: dict[str, Any]) -> Parts:
    dump = {
        "json": lambda value: json.dumps(value).encode(),
        "pickle": pickle.dumps,
        "pth": torch_bytes,
    }
    return {name: dump[name.rpartition(".")[2]](value) for name, value in parts.items()}


def write_target(
    dataset_dir: Path,
    target: str,
    shapes: Sequence[Sequence[int]],
    *,
    subflavors: Any = None,
    **sizes: int,
) -> Path:
    """A dataset of one sample for each of ``shapes``, and the empty caption that goes with it."""
    samples = [
        serialized(stored(target, serial, shape, **sizes)) for serial, shape in enumerate(shapes)
    ]
    empty = torch.zeros(1, sizes.get("width", WIDTH)).bfloat16()
    empty_caption: Any = empty
    if target == "flux":
        empty_caption = {
            "prompt_embeds": empty,
            "pooled_prompt_embeds": torch.zeros(POOLED_WIDTH).bfloat16(),
        }
    subflavors = {"target": target} if subflavors is None else subflavors
    return write_samples(dataset_dir, samples, subflavors=subflavors, empty_caption=empty_caption)


def open_loader(
    dataset_dir: Path, encoder: Any, *, workers: int = 0, strict: bool = True, **options: Any
) -> Any:
    """``strict``: the first faulty sample stops, instead of being skipped."""
    handler = {"global_error_handler": reraise_exception} if strict else {}
    arguments = {
        "batch_size": 1,
        "shuffle_buffer_size": 8,
        "max_samples_per_sequence": None,
        **options,
    }
    dataset = get_train_dataset(
        dataset_dir,
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=workers, **handler),
        task_encoder=encoder,
        **arguments,
    )
    return get_savable_loader(dataset)


def take(loader: Any, count: int) -> tuple[list[dict[str, Any]], Any]:
    """That many batches, and the loader's state after them."""
    with contextlib.closing(iter(loader)) as batches:
        return list(itertools.islice(batches, count)), loader.save_state_rank()


def sample(
    shape: Sequence[int] = IMAGE, *, tokens: int = 3, width: int = WIDTH, **fields: Any
) -> LatentSample:
    """A LatentSample as a cooker makes it, named "a"."""
    values = {
        "latent": numbers(1, *shape),
        "text": numbers(1, tokens, width),
        "metadata": json_part(1, shape),
        **fields,
    }
    return LatentSample(__key__="a", __restore_key__=("a",), **values)


def encode(encoder: Any, latent_sample: LatentSample) -> Any:
    """``encode_sample`` without Energon's seeds, which only a loader gives."""
    return type(encoder).encode_sample.__wrapped__(encoder, latent_sample)


def described(batch: dict[str, Any]) -> dict[str, tuple[tuple[int, ...], torch.dtype] | type]:
    return {
        name: (tuple(value.shape), value.dtype) if isinstance(value, torch.Tensor) else type(value)
        for name, value in batch.items()
    }
