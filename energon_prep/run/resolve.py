"""From the options of ``encode`` to its recipe and how its source is read and cut, without loading
anything heavy.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from energon_prep.errors import UsageError
from energon_prep.options import listed
from energon_prep.recipes.load import load_recipe
from energon_prep.recipes.model import Recipe

if TYPE_CHECKING:
    from energon_prep.run.options import EncodeOptions

#: Options that are short for a recipe's field.
_FIELDS = {
    "vae": "visual.model",
    "resize": "resize.mode",
    "min_size": "resize.min_size",
    "min_frames": "filters.min_frames",
    "min_seconds": "filters.min_seconds",
    "min_fps": "filters.min_fps",
    "max_aspect": "filters.max_aspect",
    "frames": "frames.num_frames",
    "fps": "frames.fps",
    "frame_mode": "frames.mode",
    "samples_per_shard": "samples_per_shard",
    "batch_size": "batch_size",
    "seed": "seed",
}

#: What people call the media they want to keep.
_ORIGINALS = {"image": "media", "video": "media"}


def resolve_recipe(options: EncodeOptions) -> Recipe:
    """The recipe with what the options change of it. Raises PrepError for one that makes no
    sense.
    """
    changes: dict[str, Any] = dict(options.set or {})
    for name, field in _FIELDS.items():
        if (value := getattr(options, name)) is not None:
            changes[field] = value
    changes |= {f"text.{i}.model": model for i, model in enumerate(listed(options.model))}
    if options.resolution is not None:
        first, *more = _resolutions(options.resolution)
        changes |= {"resize.resolution": first, "resize.more_resolutions": more}
    if options.carry is not None:
        words = [word for item in listed(options.carry) for word in re.split(r"\s*,\s*", item)]
        changes["carry"] = [_ORIGINALS.get(word.strip(), word.strip()) for word in words]
    if options.dtype is not None:
        changes |= {"visual.dtype": options.dtype, "text.dtype": options.dtype}
    return load_recipe(options.recipe, changes)


def _resolutions(given: object) -> list[Any]:
    if isinstance(given, tuple) or given == []:
        raise UsageError(
            f"--resolution {given!r}: give one size as N or 'HxW', or a list of sizes for several "
            "latents of each sample"
        )
    return list(given) if isinstance(given, list) else [given]
