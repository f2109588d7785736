"""Reading back: samples a second of Energon's loader with our decoding, and with its own.

    python -m benchmarks.loading make|ours|default FOLDER NUM      as a child of
    benchmarks.throughput

Ours reads pickles that run nothing and takes tensors from the file as they are. One process reads,
as one worker of a training's loader does; the dataset has latents [16, 1, 64, 64] and text [12,
1024], 155 KB a sample.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from megatron.energon import SampleDecoder, WorkerConfig, get_loader, get_train_dataset

import energon_prep
from benchmarks.cases import dummy_case
from benchmarks.children import Round, serve
from benchmarks.ways import seconds_of
from benchmarks.workload import make_squares
from task_encoders import LatentTaskEncoder


class DefaultDecoding(LatentTaskEncoder):  # type: ignore[misc]
    """The same, with the parts decoded by Energon: ``torch.load`` and ``pickle.loads``."""

    decoder = SampleDecoder()


ENCODERS = {"ours": LatentTaskEncoder, "default": DefaultDecoding}


def make_dataset(folder: Path, num: int) -> Path:
    """A dataset of ``num`` samples below ``folder``, in a process of its own: it takes more memory
    than reading.
    """
    dataset = folder / "dataset"
    images = folder / "images"
    make_squares(images, num=num, size=128)
    case = dummy_case("loading", images, **{"resize.resolution": 512, "text.options.width": 1024})
    energon_prep.encode(images, dataset, recipe=case.recipe, set=case.changes, device="cpu")
    energon_prep.index(dataset)
    return dataset


def load(encoder: str, dataset: Path, num: int) -> Round:
    """An epoch in batches of 8, with one thread, as torch's DataLoader has its workers."""

    def read() -> None:
        samples = get_train_dataset(
            dataset,
            worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0),
            task_encoder=ENCODERS[encoder](),
            batch_size=8,
            shuffle_buffer_size=None,
            max_samples_per_sequence=None,
            repeat=False,
        )
        found = sum(len(batch.latents) for batch in get_loader(samples))
        if found != num:
            raise SystemExit(f"{encoder}: {found} of {num} samples were read")

    def do_round() -> dict[str, Any]:
        torch.set_num_threads(1)
        return {"seconds": seconds_of(read, "cpu")}

    do_round()
    return do_round


def main() -> None:
    encoder, folder, num = sys.argv[1:]
    if encoder == "make":
        make_dataset(Path(folder), int(num))
    else:
        serve(lambda: load(encoder, Path(folder) / "dataset", int(num)))


if __name__ == "__main__":
    main()
