"""What is encoded: a recipe, its files and where the models come from, in values that any process
can be given.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.dummy import DUMMIES


@dataclass(frozen=True, kw_only=True)
class Case:
    """One recipe on one source."""

    name: str
    recipe: str
    source: str
    changes: dict[str, Any] = field(default_factory=dict)  #: of the recipe
    weights: str | None = "tiny"  #: as of --weights
    device: str = "cpu"
    script: str | None = None  #: the sequential script that makes the same: "images" or "clips"

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @staticmethod
    def from_json(text: str) -> Case:
        return Case(**json.loads(text))


def image_cases(source: Path, **options: Any) -> list[Case]:
    """FLUX.1 at 512x512: the text at full length, as the recipe has it, and only as long as the
    captions are.
    """
    return [
        _image_case("flux1", source, {}, **options),
        trimmed_case("flux1-trimmed", source, **options),
    ]


def trimmed_case(
    name: str, source: Path, changes: dict[str, Any] | None = None, **options: Any
) -> Case:
    """FLUX.1 with text that is as long as the caption."""
    trimmed = {"text.t5.padding": "trim", "text.t5.attention_mask": True}
    return _image_case(name, source, {**trimmed, **(changes or {})}, **options)


def clip_case(source: Path, *, dtype: str = "fp32", **place: str) -> Case:
    """WAN 2.1 on clips of 33 frames of 240x416, which are taken as they are."""
    changes = {
        **_dtypes(dtype),
        "resize.mode": "crop",
        "resize.resolution": "240x416",
        "frames.num_frames": 33,
        "frames.fps": None,
    }
    return Case(
        name="wan2.1", recipe="wan2.1", source=str(source), changes=changes, script="clips", **place
    )


def dummy_case(name: str, source: Path, **changes: Any) -> Case:
    """Encoders that cost nothing, on images taken at 128x128 unless the changes say otherwise."""
    changes = {**DUMMIES, "resize.mode": "crop", "resize.resolution": 128, **changes}
    return Case(name=name, recipe="dit", source=str(source), changes=changes, weights=None)


def _image_case(
    name: str, source: Path, changes: dict[str, Any], *, dtype: str = "fp32", **place: str
) -> Case:
    # A short run is to have several windows and shards, as a long one has: one is written while the
    # next is encoded.
    short = {"window": 32, "samples_per_shard": 64}
    changes = {
        **_dtypes(dtype),
        **short,
        "resize.mode": "crop",
        "resize.resolution": 512,
        **changes,
    }
    return Case(
        name=name, recipe="flux1", source=str(source), changes=changes, script="images", **place
    )


def _dtypes(dtype: str) -> dict[str, str]:
    return {
        f"{kind}.{field}": dtype
        for kind in ("visual", "text")
        for field in ("dtype", "compute_dtype")
    }
