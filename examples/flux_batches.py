"""Loads a dataset as Megatron-Bridge's FLUX training does, and prints the first batch of
FluxTaskEncoder.

python examples/flux_batches.py DATASET
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

import torch
from megatron.energon import WorkerConfig, get_savable_loader, get_train_dataset

from task_encoders import Filters, FluxTaskEncoder


def open_loader(dataset_dir: Path, *, batch_size: int) -> Any:
    """Endless batches, each of one size; small images are left out, and a tenth of the captions is
    empty.
    """
    dataset = get_train_dataset(
        dataset_dir,
        task_encoder=FluxTaskEncoder(filters=Filters(min_size=64), caption_dropout=0.1),
        worker_config=WorkerConfig.default_worker_config(num_workers=0),  # 4 or so in a training
        batch_size=batch_size,
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
    parser.add_argument("--batch-size", type=int, default=2)
    args = parser.parse_args()
    with contextlib.closing(iter(open_loader(args.dataset, batch_size=args.batch_size))) as batches:
        for name, value in next(batches).items():
            print(f"{name:<20} {describe(value)}")
