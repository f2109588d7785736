"""The engine's builder: from a job, which any process can be handed, to the stations that do it."""

from __future__ import annotations

import functools
import logging
import os
from dataclasses import dataclass
from typing import Any

import torch

from energon_prep.decode.media import decode_media, resolutions
from energon_prep.encoders.base import TextEncoder, VisualEncoder
from energon_prep.encoders.weights import find_checkpoints, load_texts, load_visual
from energon_prep.engine.batch_sizes import BatchSizes
from energon_prep.engine.out_of_memory import free_memory
from energon_prep.engine.stations import Stations
from energon_prep.engine.turns import Turns
from energon_prep.errors import PrepError
from energon_prep.recipes.model import Recipe
from energon_prep.sources.detect import make_source
from energon_prep.targets import get_target

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What every worker of a run does, in plain values."""

    recipe: Recipe
    source: dict[str, Any]  #: the source's own description
    weights: str | None  #: pipeline id or folder, "tiny" or "random"; None: each encoder's own model
    device: str  #: the worker's own
    torch_threads: int
    workers: int  #: decode threads of a worker
    phases: bool = False  #: visual and text encoders take turns on the device


@dataclass(frozen=True, kw_only=True)
class Encoders:
    """The frozen models, loaded."""

    visual: VisualEncoder
    texts: tuple[TextEncoder, ...]

    def describe(self) -> dict[str, Any]:
        return {"visual": self.visual.describe(), "text": [text.describe() for text in self.texts]}


def load_encoders(job: Job) -> Encoders:
    """Load the models onto the job's device; with phases, the text encoders then wait in the computer's memory."""
    torch.set_num_threads(job.torch_threads)
    found = find_checkpoints(job.recipe, weights=job.weights)  # all of them, before the first is downloaded
    texts = load_texts(job.recipe, weights=found, device=job.device)
    if job.phases:
        for text in texts:
            text.move_to("cpu")
        free_memory()
    visual = load_visual(job.recipe, weights=found, device=job.device)
    return Encoders(visual=visual, texts=tuple(texts))


def build_stations(job: Job, encoders: Encoders, sizes: BatchSizes, turns: Turns) -> Stations:
    recipe = job.recipe
    multiple = encoders.visual.spatial_factor * recipe.resize.patch
    return Stations(
        source=make_source(job.source),
        decode=functools.partial(
            decode_media,
            resizes=resolutions(recipe.resize),
            multiple=multiple,
            frames=recipe.frames,
            frame_step=None if encoders.visual.images_only else encoders.visual.temporal_factor,
            filters=recipe.filters,
            limits=recipe.limits,
        ),
        visual=encoders.visual,
        texts=tuple(zip(recipe.text, encoders.texts, strict=True)),
        target=get_target(recipe.target),
        window=recipe.window,
        sizes=sizes,
        seed=recipe.seed,
        carry=recipe.carry,
        turns=turns,
    )


def resolve_devices(device: str) -> list[str]:
    """The devices of ``--device``, one worker each: "cuda:0,1" -> cuda:0 and cuda:1, "cpu,cpu" -> two on the CPU.

    ``auto`` is every CUDA device there is, or else the CPU. Raises PrepError for a device that is not there.
    """
    if device == "auto":
        return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]
    devices: list[str] = []
    for word in device.split(","):
        name = f"{devices[-1].partition(':')[0]}:{word}" if devices and word.strip().isdecimal() else word
        devices.append(_require_device(name.strip(), asked=device))
    kinds = {name.partition(":")[0] for name in devices}
    if len(kinds) > 1:
        raise PrepError(f"--device {device}: {' and '.join(sorted(kinds))} would not give the same numbers: use one")
    return devices


def _require_device(name: str, *, asked: str) -> str:
    try:
        found = torch.device(name)
    except RuntimeError as error:
        raise PrepError(f"--device {asked!r} is no device: give auto, cpu, cuda, cuda:N or cuda:0,1") from error
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise PrepError(
            f"--device {asked}: this torch ({torch.__version__}) sees {torch.cuda.device_count()} CUDA devices: use "
            "--device cpu, or one that is there"
        )
    return name


def num_cpus() -> int:
    """Processors this process may use (containers and taskset give fewer than the machine has)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
