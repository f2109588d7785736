"""Encodes two samples with each published model in small, by an installed ``energon-prep``, and
prints how it went.

For a fresh virtual environment, to see that nothing is lacking there that a published file is read
with:

    python3 -m venv fresh && fresh/bin/pip install -c constraints.txt . && fresh/bin/python -m
    tests.published

Run it in the repository, whose tests build the models; what encodes is the package that is
installed. Exit code 1 if a model does not encode.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from energon_prep.encoders.catalog import CATALOG, VISUAL_FAMILIES, ModelInfo
from energon_prep.encoders.locate import locate
from energon_prep.recipes.load import load_recipe, recipe_names
from tests.published.repositories import snapshot

_CHAT = "<|im_start|>user\n{}<|im_end|>\n"
_SMALL = ("--resolution", "64", "--dtype", "fp32", "--device", "cpu", "--json")


@dataclass(frozen=True, kw_only=True)
class _Case:
    kind: str
    name: str
    hf_id: str
    options: tuple[str, ...]  #: with FOLDER where the repository's is to be


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.published",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", help="aliases and recipes; all if none is named")
    args = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as work_dir:
        photos = _write_photos(Path(work_dir, "photos"))
        print(f"{'':<9} {'name':<20} {'published as':<60} {'seconds':>7}  ok")
        hub = Path(work_dir, "hub")
        for case in _cases(hub, args.names):
            seconds, problem = _encode(case, hub, photos, Path(work_dir))
            failed += bool(problem)
            print(
                f"{case.kind:<9} {case.name:<20} {case.hf_id:<60} {seconds:>7.1f}  "
                f"{problem or 'yes'}",
                flush=True,
            )
    return 1 if failed else 0


def _cases(hub: Path, names: Sequence[str]) -> Iterator[_Case]:
    """``hub``: the cache in which recipes find their models. ``names``: all if it is empty."""
    for info in CATALOG.values():
        if names and info.alias not in names:
            continue
        visual = info.family in VISUAL_FAMILIES
        options = _of_visual(info) if visual else _of_text(info)
        yield _Case(
            kind="visual" if visual else "text", name=info.alias, hf_id=info.hf_id, options=options
        )
    for name in recipe_names():
        if names and name not in names:
            continue
        for source in (sources := locate(load_recipe(name), weights=None)):
            snapshot(hub, source.location)
        yield _Case(
            kind="recipe", name=name, hf_id=sources.texts[0].location, options=("--recipe", name)
        )


def _of_visual(info: ModelInfo) -> tuple[str, ...]:
    """With T5-small's text, which any folder of a T5 gives."""
    subfolder = ("--set", f"visual.subfolder={info.subfolder}") if info.subfolder else ()
    return ("--recipe", "cogvideox", "--vae", "FOLDER", *subfolder, "--model", "T5")


def _of_text(info: ModelInfo) -> tuple[str, ...]:
    subfolder = ("--set", f"text.subfolder={info.subfolder}") if info.subfolder else ()
    template = ("--set", f"text.template={_CHAT}") if info.family == "qwen2.5-vl" else ()
    tokens = ("--set", "text.max_tokens=77")
    return (
        "--recipe",
        "cogvideox",
        "--vae",
        "VAE",
        "--model",
        "FOLDER",
        *subfolder,
        *template,
        *tokens,
    )


def _encode(case: _Case, hub: Path, photos: Path, work_dir: Path) -> tuple[float, str]:
    """Seconds, and what went wrong."""
    places = {
        "FOLDER": snapshot(hub, case.hf_id),
        "T5": snapshot(hub, "google/t5-v1_1-xxl"),
        "VAE": snapshot(hub, "stabilityai/sd-vae-ft-mse"),
    }
    options = [str(places.get(option, option)) for option in (*case.options, *_SMALL)]
    dest = work_dir / "encoded" / case.kind / case.name
    command = [sys.executable, "-m", "energon_prep", "encode", str(photos), str(dest), *options]
    began = time.monotonic()
    # Elsewhere, so that the installed package is run and not this repository's.
    environment = os.environ | {"HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        command,
        cwd=work_dir,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    seconds = time.monotonic() - began
    if run.returncode:
        return seconds, f"exit code {run.returncode}: {run.stderr.strip()[-500:]}"
    written = json.loads(run.stdout)["num_written"]
    return seconds, "" if written == 2 else f"wrote {written} of 2"


def _write_photos(folder: Path) -> Path:
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    for name, pixels in zip(("cat", "dog"), noise, strict=True):
        Image.fromarray(pixels).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(f"a photo of a {name}", encoding="utf-8")
    return folder


if __name__ == "__main__":
    sys.exit(main())
