"""Loads a dataset with webdataset instead of Energon, and prints the first batch and the number of
samples.

For trainers that read plain WebDataset: the shards are such tars. Their order is shuffled, ranks
and workers of the loader share them, and parts are read without running what a pickle asks for. A
batch is of latents of one shape.

    python examples/webdataset_loader.py DATASET
"""

from __future__ import annotations

import argparse
import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
import webdataset as wds

from cookers.safe import load_json, load_pickle, load_pth

_READ: dict[str, Callable[[bytes], Any]] = {
    "pth": load_pth,
    "pickle": load_pickle,
    "json": load_json,
}


def open_loader(
    dataset_dir: Path, *, batch_size: int, num_workers: int = 0
) -> Iterable[dict[str, Any]]:
    """Each sample once: latents [B, C, ...], captions' embeddings and metadata as lists, keys."""
    shards = sorted(str(path) for path in dataset_dir.glob("*.tar"))
    dataset = wds.WebDataset(
        shards, shardshuffle=len(shards), nodesplitter=wds.split_by_node, empty_check=False, seed=0
    )
    dataset = dataset.map(read_parts).compose(
        functools.partial(equal_shapes, batch_size=batch_size)
    )
    return wds.WebLoader(dataset, batch_size=None, num_workers=num_workers)


def read_parts(sample: dict[str, Any]) -> dict[str, Any]:
    return {name: _READ[name](value) if name in _READ else value for name, value in sample.items()}


def equal_shapes(samples: Iterable[dict[str, Any]], batch_size: int) -> Iterator[dict[str, Any]]:
    """Batches in the order in which they fill up; those left at the end are smaller."""
    waiting: defaultdict[torch.Size, list[dict[str, Any]]] = defaultdict(list)
    for sample in samples:
        alike = waiting[sample["pth"].shape]
        alike.append(sample)
        if len(alike) == batch_size:
            yield batch(alike)
            alike.clear()
    yield from (batch(alike) for alike in waiting.values() if alike)


def batch(samples: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "latents": torch.stack([sample["pth"] for sample in samples]),
        "text": [sample["pickle"] for sample in samples],
        "metadata": [sample["json"] for sample in samples],
        "keys": [sample["__key__"] for sample in samples],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--batch-size", type=int, default=4)
    args = parser.parse_args()
    num = 0
    for made in open_loader(args.dataset, batch_size=args.batch_size):
        if not num:
            print("latents", list(made["latents"].shape), made["latents"].dtype)
            print("keys   ", " ".join(made["keys"]))
        num += len(made["keys"])
    print(num, "samples")
