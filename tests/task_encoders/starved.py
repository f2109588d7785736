"""One rank of a training whose filter leaves a part of the data nothing, in a process of its own:

python -m tests.task_encoders.starved DATASET STORE RANK RANKS WORKERS ENCODER
"""

from __future__ import annotations

import sys
from typing import Any

import torch.distributed as dist
from megatron.energon import WorkerConfig, get_savable_loader, get_train_dataset

from task_encoders import DiTTaskEncoder, Filters, LatentTaskEncoder, WanTaskEncoder, in_step
from tests.task_encoders.trainers import WIDTH

PACKS = {"packing_buffer_size": 4}
ENCODERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "score": (lambda: LatentTaskEncoder(filters=Filters(min_aesthetic_score=5)), {}),
    "any": (LatentTaskEncoder, {}),
    "dit": (lambda: DiTTaskEncoder(seq_length=64), PACKS),
    "wan": (lambda: WanTaskEncoder(seq_length=4, text_width=WIDTH), PACKS),
}


def main(dataset: str, store: str, rank: int, ranks: int, workers: int, name: str) -> None:
    if ranks > 1:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
    make, options = ENCODERS[name]
    loader = get_savable_loader(
        get_train_dataset(
            dataset,
            worker_config=WorkerConfig(rank=rank, world_size=ranks, num_workers=workers),
            batch_size=1,
            shuffle_buffer_size=4,
            max_samples_per_sequence=None,
            task_encoder=make(),
            **options,
        )
    )
    for number, _ in enumerate(in_step(loader)):
        if number == 30:
            return


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]), sys.argv[6])
    finally:  # else gloo's threads may abort the process while it ends
        if dist.is_initialized():
            dist.destroy_process_group()
