"""Loads datasets with our task encoders, on the Energon that this Python has, and notes what came.

python -m tests.compat.load DATASETS FILE.json
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from megatron.energon import WorkerConfig, get_savable_loader, get_train_dataset, get_val_dataset

from task_encoders import (
    DiTTaskEncoder,
    FluxTaskEncoder,
    LatentTaskEncoder,
    NeMoDiTTaskEncoder,
    WanTaskEncoder,
)

POISONED = "poisoned"  #: a dataset whose pickles run something, if they can
MARK = "it-ran"  #: what they make

#: By the dataset's recipe: its trainer's task encoder, and ours for any.
ENCODERS: dict[str, Callable[..., Any]] = {
    "dit": DiTTaskEncoder,
    "nemo-dit": lambda **options: NeMoDiTTaskEncoder(seq_length=1024, **options),
    "wan2.1": lambda **options: WanTaskEncoder(seq_length=4096, **options),
    "flux1": FluxTaskEncoder,
    "primus-flux": FluxTaskEncoder,
    "mlperf-flux": FluxTaskEncoder,
    "sd3": LatentTaskEncoder,
}
PACKED: dict[str, Callable[..., Any]] = {
    "dit": lambda **options: DiTTaskEncoder(seq_length=4096, **options),
    "nemo-dit": lambda **options: NeMoDiTTaskEncoder(max_seq_length=4096, **options),
    "wan2.1": ENCODERS["wan2.1"],
}


def open_dataset(root: Path, encoder: Any, *, train: bool = False, **options: Any) -> Any:
    config = WorkerConfig(rank=0, world_size=1, num_workers=0)
    options = {"batch_size": 1, "worker_config": config, "task_encoder": encoder, **options}
    if train:
        options |= {"shuffle_buffer_size": 4, "max_samples_per_sequence": None}
        dataset = get_train_dataset(root, **options)
    else:
        dataset = get_val_dataset(root, split_part="train", **options)
    return get_savable_loader(dataset)


def digest(value: Any) -> Any:
    """A batch -> one hash; of tensors dtype, shape and bytes. Energon's own keys are left out."""
    if isinstance(value, torch.Tensor):
        data = value.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        return f"{value.dtype} {list(value.shape)} {hashlib.sha256(data).hexdigest()}"
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        named = {name: digest(item) for name, item in value.items() if not name.startswith("__")}
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()
    if isinstance(value, (list, tuple)):
        return [digest(item) for item in value]
    return value


def batches(loader: Any, count: int | None = None) -> list[Any]:
    return [digest(batch) for batch in itertools.islice(loader, count)]


def goes_on(root: Path, make: Callable[[], Any]) -> bool:
    """Whether a restored loader gives the batches that the saved one would have given."""
    loader = open_dataset(root, make(), train=True)
    stream = iter(loader)
    for _ in range(3):
        next(stream)
    state = loader.save_state_rank()
    expected = [digest(next(stream)) for _ in range(3)]
    restored = open_dataset(root, make(), train=True)
    restored.restore_state_rank(state)
    return batches(restored, 3) == expected


def refusal(root: Path, encoder: Any) -> str:
    """What is said of a dataset of another target."""
    try:
        batches(open_dataset(root, encoder))
    except Exception as error:  # noqa: BLE001 - versions wrap it in their own; its text is what counts
        reasons: list[BaseException] = [error]
        while (reason := reasons[-1].__cause__ or reasons[-1].__context__) is not None:
            reasons.append(reason)
        texts = [str(reason) for reason in reasons]
        return next((text for text in texts if "dataset says target" in text), texts[0])
    return "nothing"


def report(datasets: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"energon": importlib.metadata.version("megatron-energon")}
    for name, make in ENCODERS.items():
        root = datasets / name
        uncaptioned = make(caption_dropout=1.0, empty_caption=root)
        found[name] = sorted(batches(open_dataset(root, make())))
        found[f"{name} any"] = sorted(batches(open_dataset(root, LatentTaskEncoder())))
        found[f"{name} dropped"] = sorted(batches(open_dataset(root, uncaptioned)))
        found[f"{name} goes on"] = goes_on(root, make)
    for name, make in PACKED.items():
        loader = open_dataset(datasets / name, make(), packing_buffer_size=8)
        found[f"{name} packed"] = batches(loader)
    found["refusal"] = refusal(datasets / "flux1", ENCODERS["wan2.1"]())
    found["poisoned"] = batches(open_dataset(datasets / POISONED, LatentTaskEncoder()))
    found["ran"] = (datasets / MARK).exists()
    return found


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(report(Path(sys.argv[1]))))
