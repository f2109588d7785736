"""Writes weights and configurations into the files that repositories of models hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from energon_prep.demo.tiny.fill import fill

State = dict[str, torch.Tensor]


def random_model(
    model_class: Any, *args: Any, d_kv: int = 1, embedding: float = 1.0, **kwargs: Any
) -> Any:
    """A model with the values of the tool's tiny weights, in bf16."""
    with torch.device("meta"):
        model = model_class(*args, **kwargs)
    return fill(model, d_kv=d_kv, embedding=embedding)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_safetensors(folder: Path, state: State, *, shards: int = 1, stem: str = "model") -> None:
    """``model.safetensors``, or ``model-00001-of-00002.safetensors`` ... and their index."""
    for name, part in _shards(state, shards, stem, "safetensors"):
        # it refuses what shares memory
        copies = {key: value.contiguous().clone() for key, value in part.items()}
        save_file(copies, folder / name, metadata={"format": "pt"})
    _write_index(folder / f"{stem}.safetensors.index.json", state, shards, stem, "safetensors")


def write_pickles(folder: Path, state: State, *, shards: int = 1) -> None:
    """``pytorch_model.bin``, or ``pytorch_model-00001-of-00002.bin`` ... and their index."""
    for name, part in _shards(state, shards, "pytorch_model", "bin"):
        torch.save(part, folder / name)
    _write_index(folder / "pytorch_model.bin.index.json", state, shards, "pytorch_model", "bin")


def _shards(state: State, shards: int, stem: str, suffix: str) -> Iterator[tuple[str, State]]:
    if shards == 1:
        yield f"{stem}.{suffix}", state
        return
    names = list(state)
    for i in range(shards):
        part = names[i * len(names) // shards : (i + 1) * len(names) // shards]
        yield f"{stem}-{i + 1:05}-of-{shards:05}.{suffix}", {name: state[name] for name in part}


def _write_index(path: Path, state: State, shards: int, stem: str, suffix: str) -> None:
    if shards > 1:
        files = {name: file for file, part in _shards(state, shards, stem, suffix) for name in part}
        total = sum(value.nbytes for value in state.values())
        write_json(path, {"metadata": {"total_size": total}, "weight_map": files})
