"""Loads a dataset made for AMD Primus or for MLPerf (recipes primus-flux and mlperf-flux) and
prints a batch.

Both trainers read these datasets with their own task encoders; this is how to look into one, or to
train on it here: the cooker that fits is chosen by the dataset's target, and stored moments are
drawn from and normalised.

    python examples/read_preencoded_flux.py DATASET
"""

from __future__ import annotations

import sys

from megatron.energon import WorkerConfig, get_loader, get_train_dataset

from task_encoders import LatentTaskEncoder

if __name__ == "__main__":
    dataset = get_train_dataset(
        sys.argv[1],
        task_encoder=LatentTaskEncoder(),
        worker_config=WorkerConfig.default_worker_config(num_workers=0),
        batch_size=2,
        shuffle_buffer_size=None,
        max_samples_per_sequence=None,
        repeat=False,
    )
    batch = next(iter(get_loader(dataset)))
    print("latents", list(batch.latents.shape), batch.latents.dtype)
    print("text   ", list(batch.text.shape), batch.text.dtype)
    print("pooled ", list(batch.pooled.shape), batch.pooled.dtype)
