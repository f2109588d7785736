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
from energon_prep.encoders.weights import load_texts, load_visual
from energon_prep.engine.stations import Stations
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
    device: str
    torch_threads: int
    workers: int  #: decode threads


@dataclass(frozen=True, kw_only=True)
class Encoders:
    """The frozen models, loaded."""

    visual: VisualEncoder
    texts: tuple[TextEncoder, ...]

    def describe(self) -> dict[str, Any]:
        return {"visual": self.visual.describe(), "text": [text.describe() for text in self.texts]}


def load_encoders(job: Job) -> Encoders:
    """Load the models onto the job's device."""
    torch.set_num_threads(job.torch_threads)
    visual = load_visual(job.recipe, weights=job.weights, device=job.device)
    texts = load_texts(job.recipe, weights=job.weights, device=job.device)
    return Encoders(visual=visual, texts=tuple(texts))


def build_stations(job: Job, encoders: Encoders) -> Stations:
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
            limits=recipe.limits,
        ),
        visual=encoders.visual,
        texts=tuple(zip(recipe.text, encoders.texts, strict=True)),
        target=get_target(recipe.target),
        window=recipe.window,
        batch_pixels=recipe.visual.batch_pixels,
        seed=recipe.seed,
        carry=recipe.carry,
    )


def resolve_device(device: str) -> str:
    """``auto`` is CUDA where there is one. Raises PrepError for a device that is not there."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise PrepError(f"--device {device!r} is no device: give auto, cpu, cuda or cuda:N") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise PrepError(f"--device {device}: this torch ({torch.__version__}) sees no CUDA device: use --device cpu")
    return device


def num_cpus() -> int:
    """Processors this process may use (containers and taskset give fewer than the machine has)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
