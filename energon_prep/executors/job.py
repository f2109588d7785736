"""From a job, which any process can be handed, to the stations that do it."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from energon_prep.decode.media import decode_media, resolutions
from energon_prep.demo.tiny import build_pipeline
from energon_prep.device.batch_sizes import BatchSizes
from energon_prep.device.budget import make_budget
from energon_prep.device.out_of_memory import free_memory
from energon_prep.device.turns import Turns
from energon_prep.encoders.base import TextEncoder, VisualEncoder
from energon_prep.encoders.weights import find_checkpoints, load_texts, load_visual
from energon_prep.pipeline.stations import Stations
from energon_prep.pipeline.suspects import Notes, Suspects
from energon_prep.recipes.model import Recipe
from energon_prep.sources.detect import make_source
from energon_prep.targets import get_target

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What every worker of a run does, in plain values."""

    recipe: Recipe
    source: dict[str, Any]  #: the source's own description
    #: pipeline id or folder, "tiny" or "random"; None: each encoder's own model
    weights: str | None
    device: str  #: the worker's own
    torch_threads: int
    workers: int  #: decode threads of a worker
    num_devices: int = 1  #: as many workers share this machine's memory
    phases: bool = False  #: visual and text encoders take turns on the device
    allow_unreadable: bool = False  #: go on after a window of which no sample can be read
    dest: Path | None = None  #: where workers note what they are decoding
    suspects: Suspects = Suspects()


@dataclass(frozen=True, kw_only=True)
class Encoders:
    """The frozen models, loaded."""

    visual: VisualEncoder
    texts: tuple[TextEncoder, ...]

    def describe(self) -> dict[str, Any]:
        return {"visual": self.visual.describe(), "text": [text.describe() for text in self.texts]}


def load_encoders(job: Job) -> Encoders:
    """Load the models onto the job's device; with phases, the text encoders then wait in the
    computer's memory.
    """
    torch.set_num_threads(job.torch_threads)
    # all of them, before the first is downloaded
    found = find_checkpoints(job.recipe, weights=job.weights, build=build_pipeline)
    texts = load_texts(job.recipe, found.texts, device=job.device)
    if job.phases:
        for text in texts:
            text.move_to("cpu")
        free_memory()
    visual = load_visual(job.recipe, found.visual, device=job.device)
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
            frame_step=encoders.visual.temporal_factor,
            filters=recipe.filters,
            limits=recipe.limits,
        ),
        visual=encoders.visual,
        texts=tuple(zip(recipe.text, encoders.texts, strict=True)),
        target=get_target(recipe.target),
        moments=recipe.visual.posterior == "moments",
        window=recipe.window,
        sizes=sizes,
        seed=recipe.seed,
        carry=recipe.carry,
        allow_unreadable=job.allow_unreadable,
        budget=make_budget(job.num_devices),
        notes=Notes(job.dest, suspects=job.suspects, salt=recipe.model_dump_json()),
        turns=turns,
    )
