"""A look at a dataset through Megatron-Energon, with the cooker and task encoder of training."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from task_encoders import LatentBatch


def first_batch(dest: Path, *, batch_size: int) -> LatentBatch:
    """The first batch of the train split, in order and without worker processes."""
    from megatron.energon import WorkerConfig, get_loader, get_train_dataset
    from megatron.energon.errors import reraise_exception

    from task_encoders import LatentTaskEncoder

    dataset = get_train_dataset(
        dest,
        worker_config=WorkerConfig(
            rank=0, world_size=1, num_workers=0, global_error_handler=reraise_exception
        ),
        task_encoder=LatentTaskEncoder(),
        batch_size=batch_size,
        shuffle_buffer_size=None,
        max_samples_per_sequence=None,
        repeat=False,
    )
    with warnings.catch_warnings():
        # Energon's loader pins memory wherever it runs, and torch says on every machine without a
        # GPU that it cannot.
        warnings.filterwarnings("ignore", message="'pin_memory' argument")
        batch: LatentBatch = next(iter(get_loader(dataset)))
    return batch


def describe_batch(batch: LatentBatch) -> list[str]:
    """One line a field: name, shape, dtype."""
    lines = []
    for name in ("latents", "text", "text_mask", "pooled"):
        tensor = getattr(batch, name)
        if tensor is not None:
            lines.append(
                f"{name:<10} {list(tensor.shape)!s:<22} {str(tensor.dtype).removeprefix('torch.')}"
            )
    lines.append(f"{'metadata':<10} {len(batch.metadata)} dicts: {', '.join(batch.metadata[0])}")
    lines.append(f"{'keys':<10} {', '.join(batch.__key__)}")
    return lines
