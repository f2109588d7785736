"""Loads a dataset as DFM's DiT training does, and prints the first batch of DiTTaskEncoder.

python examples/dit_batches.py DATASET
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

import torch
from megatron.energon import WorkerConfig, get_savable_loader, get_train_dataset

from task_encoders import DiTTaskEncoder


def open_loader(dataset_dir: Path, *, seq_length: int) -> Any:
    """Endless packs; in a tenth of the samples the caption is empty."""
    dataset = get_train_dataset(
        dataset_dir,
        task_encoder=DiTTaskEncoder(
            seq_length=seq_length,
            caption_dropout=0.1,
            empty_caption=dataset_dir,  # not needed on Energon 7, but on DFM's 6
        ),
        worker_config=WorkerConfig.default_worker_config(num_workers=0),  # 4 or so in a training
        batch_size=1,
        packing_buffer_size=40,  # samples to choose from: 10 packs' worth or more
        shuffle_buffer_size=100,
        max_samples_per_sequence=None,
    )
    return get_savable_loader(dataset)


def describe(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{list(value.shape)!s:<20} {str(value.dtype).removeprefix('torch.')}"
    return f"{len(value)} dicts: {', '.join(value[0])}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--seq-length", type=int, default=8192, help="tokens that a pack holds")
    args = parser.parse_args()
    with contextlib.closing(iter(open_loader(args.dataset, seq_length=args.seq_length))) as batches:
        for name, value in next(batches).items():
            print(f"{name:<20} {describe(value)}")
