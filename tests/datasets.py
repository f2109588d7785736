"""Small Energon datasets for tests of the training side, written with nothing of energon_prep."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from megatron.energon import BaseWebdatasetFactory

SHAPES = ((16, 1, 4, 4), (16, 1, 4, 6), (16, 1, 6, 4))
WIDTH = 32

Parts = dict[str, bytes]


class Poison:
    """Creates a file when it is unpickled by anything that runs what pickles ask for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.path}'",)


def torch_bytes(value: Any, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def sample_parts(
    serial: int, shape: Sequence[int], *, num_tokens: int, dotted: bool = False
) -> Parts:
    """bf16 latent and text that tell the serial (their first number), as dit or, dotted, as
    nemo-dit stores them.
    """
    latent = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(serial)).bfloat16()
    latent.view(-1)[0] = serial
    text = torch.randn(
        num_tokens, WIDTH, generator=torch.Generator().manual_seed(serial)
    ).bfloat16()
    text[0, 0] = serial
    metadata = {"key": f"{serial:09d}", "text_tokens": num_tokens}
    stored_text: Any = text.float().numpy().astype(np.float16) if dotted else text
    dot = "." if dotted else ""
    return {
        dot + "json": json.dumps(metadata).encode(),
        dot + "pickle": pickle.dumps(stored_text),
        dot + "pth": torch_bytes(latent),
    }


def write_dataset(
    dataset_dir: Path,
    num_samples: int = 24,
    *,
    shapes: Sequence[Sequence[int]] = SHAPES,
    num_shards: int = 3,
    dotted: bool = False,
    replace: dict[int, Parts] | None = None,
) -> Path:
    """``num_samples`` samples of the ``shapes`` in turn and 1 to 7 tokens; ``replace`` gives parts
    by serial.
    """
    samples = []
    for serial in range(num_samples):
        parts = sample_parts(
            serial, shapes[serial % len(shapes)], num_tokens=1 + serial % 7, dotted=dotted
        )
        samples.append({**parts, **(replace or {}).get(serial, {})})
    return write_samples(dataset_dir, samples, num_shards=num_shards)


def write_samples(
    dataset_dir: Path,
    samples: Sequence[Parts],
    *,
    num_shards: int = 2,
    subflavors: Mapping[str, str] | None = None,
    empty_caption: Any = None,
) -> Path:
    """The samples under the keys 000000000, 000000001, ...; ``subflavors`` go into dataset.yaml."""
    dataset_dir.mkdir(parents=True)
    per_shard = -(-len(samples) // num_shards)
    tars = []
    for first in range(0, len(samples), per_shard):
        tars.append(f"shard_{len(tars):06d}.tar")
        with tarfile.open(dataset_dir / tars[-1], "w", format=tarfile.USTAR_FORMAT) as tar:
            for serial, parts in enumerate(samples[first : first + per_shard], start=first):
                for name, data in parts.items():
                    member = tarfile.TarInfo(f"{serial:09d}.{name}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    index(dataset_dir, tars, {"target": "dit"} if subflavors is None else subflavors)
    empty = torch.zeros(1, WIDTH).bfloat16() if empty_caption is None else empty_caption
    (dataset_dir / ".energon-prep").mkdir()
    (dataset_dir / ".energon-prep" / "empty_caption.pickle").write_bytes(pickle.dumps(empty))
    return dataset_dir


def index(dataset_dir: Path, tars: list[str], subflavors: Mapping[str, str]) -> None:
    BaseWebdatasetFactory.prepare_dataset(
        dataset_dir,
        tars,
        split_parts_ratio=[("train", 1.0), ("val", 0.0), ("test", 0.0)],
        shuffle_seed=None,
        workers=2,
    )
    (dataset_dir / ".nv-meta" / "dataset.yaml").write_text(
        "__module__: megatron.energon\n__class__: CrudeWebdataset\n"
        + f"subflavors: {json.dumps(dict(subflavors))}\n"
    )
