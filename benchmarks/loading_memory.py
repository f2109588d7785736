"""Whether loading takes more memory the longer it goes on: 10,000 samples, and ten epochs of 1,000.

    python -m benchmarks.loading_memory

Images of four shapes with texts of 1 to 120 tokens, batched by LatentTaskEncoder behind a shuffle
buffer of 100, in one process and out of one tar, which stays open. Its memory is noted at every
thousand samples; the first, in which the buffer fills and forms of files are learned, is what the
others are held against.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from megatron.energon import WorkerConfig, get_loader, get_train_dataset

from benchmarks.loading import write_dataset
from task_encoders import LatentTaskEncoder

SHAPES = ((16, 1, 32, 32), (16, 1, 24, 40), (16, 1, 40, 24), (16, 1, 16, 64))
EVERY = 1000


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="energon-prep-bench-") as folder:
        for num in (10 * EVERY, EVERY):
            dataset = Path(folder) / str(num)
            write_dataset(dataset, map(make_parts, range(num)), subflavor={"target": "dit"})
            noted = list(memory(dataset, 10 * EVERY))
            growth = 100 * (max(noted[1:]) / noted[0] - 1)
            mib = ", ".join(f"{kib / 1024:.0f}" for kib in noted)
            print(f"{num:,} samples a pass: {mib} MiB, at most {growth:+.1f} %", flush=True)


def make_parts(serial: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(serial)
    latent = torch.randn(SHAPES[serial % len(SHAPES)], generator=generator).bfloat16()
    text = torch.randn(1 + serial * 37 % 120, 256, generator=generator).bfloat16()
    return {"json": {"key": f"{serial:09d}"}, "pickle": text, "pth": latent}


def memory(dataset: Path, num: int) -> Iterator[int]:
    """KiB that the process holds after every thousand of ``num`` samples."""
    torch.set_num_threads(1)
    samples = get_train_dataset(
        dataset,
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0),
        task_encoder=LatentTaskEncoder(),
        batch_size=8,
        shuffle_buffer_size=100,
        max_samples_per_sequence=100,
    )
    found = 0
    for batch in get_loader(samples):
        before, found = found, found + len(batch.latents)
        del batch
        if found // EVERY > before // EVERY:
            gc.collect()
            yield _resident_kib()
        if found >= num:
            return


def _resident_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


if __name__ == "__main__":
    main()
