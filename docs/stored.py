"""Makes the tables of trainers.md: runs every recipe on tiny weights and prints what it stored.

python -m docs.stored          prints the tables
python -m docs.stored --write  puts them into trainers.md, between its marks
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import energon_prep
from cookers.safe import load_json, load_pickle, load_pth
from docs.pages import Page, arguments
from energon_prep.demo.data import make_raw_dataset, make_raw_videos
from energon_prep.recipes.load import load_recipe, recipe_names

PAGE = Page(
    "trainers.md", marks=("<!-- stored: made by docs/stored.py -->", "<!-- end of stored -->")
)


def changes_for(name: str) -> dict[str, Any]:
    """Sizes that tiny models encode in a moment, and two clip lengths that every frame rule
    allows.
    """
    recipe = load_recipe(name)
    side = 128 if recipe.visual.model in ("dc-ae", "ltx-video") else 64
    changes: dict[str, Any] = {"resize.resolution": side, "samples_per_shard": 4}
    if recipe.frames.num_frames > 1:
        # 1 + 4 * 6 = 1 + 8 * 3 = 1 + 6 * 4
        changes |= {"frames.num_frames": 25, "frames.fps": None}
    return changes


def make_raw(root: Path, *, videos: bool) -> None:
    """Two images and, where the recipe takes them, a clip."""
    make_raw_dataset(root, num=2, min_side=150, max_side=200)
    if videos:
        make_raw_videos(root / "clips", num=1)


def encode_tiny(name: str, raw: Path, dest: Path) -> Any:
    return energon_prep.encode(
        raw, dest, recipe=name, weights="tiny", torch_threads=1, set=changes_for(name)
    )


def stored_rows(dest: Path) -> list[tuple[str, str, str]]:
    """(part, shape, dtype) of the first sample of each kind in a dataset: an image and a clip."""
    rows: list[tuple[str, str, str]] = []
    for sample in _samples(dest):
        info = sample.get("json") or sample[".json"]
        for part, value in sample.items():
            rows += [(f"{info['media']}: {label}", *what) for label, what in _describe(part, value)]
    return list(dict.fromkeys(rows))


def _samples(dest: Path) -> list[dict[str, Any]]:
    loaders = {"pth": load_pth, "pickle": load_pickle, "json": load_json}
    samples: dict[str, dict[str, Any]] = {}
    for path in sorted(dest.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, part = member.name.partition(".")
                data = tar.extractfile(member).read()  # type: ignore[union-attr]
                samples.setdefault(key, {})[part] = loaders.get(part.rpartition(".")[2], bytes)(
                    data
                )
    by_media = {(s.get("json") or s[".json"])["media"]: s for s in reversed(list(samples.values()))}
    return [by_media[media] for media in sorted(by_media)]


def _describe(part: str, value: Any) -> list[tuple[str, tuple[str, str]]]:
    if isinstance(value, torch.Tensor):
        return [(part, (str(list(value.shape)), str(value.dtype).removeprefix("torch.")))]
    if isinstance(value, np.ndarray):
        return [(part, (str(list(value.shape)), f"np {value.dtype}"))]
    if isinstance(value, list):
        return [(f"{part}[0]", what) for _, what in _describe(part, value[0])]
    if isinstance(value, bytes) and value[:6] == b"\x93NUMPY":
        from energon_prep.targets.mlperf_flux import loads_bf16

        return [(part, (str(list(loads_bf16(part, value).shape)), "npy uint16 (bf16)"))]
    if isinstance(value, dict) and not part.endswith("json"):
        return [
            (f"{part} {key}{rest}", what)
            for key, v in value.items()
            for rest, what in _describe("", v)
        ]
    return [(part, ("", "object" if isinstance(value, dict) else "UTF-8"))]


def tables() -> str:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        lines = []
        for name in recipe_names():
            videos = load_recipe(name).frames.num_frames > 1
            raw = place / f"raw-{videos}"
            if not raw.exists():
                make_raw(raw, videos=videos)
            encode_tiny(name, raw, place / name)
            lines += [
                f"### {name}",
                "",
                load_recipe(name).description + ".",
                "",
                "| part | shape | dtype |",
                "|---|---|---|",
            ]
            lines += [
                f"| `{part}` | {shape} | {dtype} |"
                for part, shape, dtype in stored_rows(place / name)
            ]
            lines.append("")
    return "\n".join(lines)


def main() -> None:
    options = arguments(__doc__).parse_args()
    PAGE.offer(tables(), write=options.write)


if __name__ == "__main__":
    main()
