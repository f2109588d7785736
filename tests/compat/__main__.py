"""Compares what our task encoders make of datasets under several versions of Energon with what they make here.

python -m tests.compat ENVIRONMENTS        a folder of virtual environments, each with torch and one Energon
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import energon_prep
from energon_prep.demo_data import make_raw_dataset, make_raw_videos
from energon_prep.recipes.load import load_recipe
from tests.compat.load import ENCODERS, MARK, POISONED
from tests.datasets import Poison, sample_parts, write_samples

ROOT = Path(__file__).parents[2]


def write_datasets(root: Path) -> None:
    """One for each trainer, encoded on tiny weights, and one with pickles that would run something."""
    make_raw_dataset(root / "images", num=4, min_side=150, max_side=200)
    make_raw_dataset(root / "both", num=3, min_side=150, max_side=200)
    make_raw_videos(root / "both" / "clips", num=1)
    for name in ENCODERS:
        videos = load_recipe(name).frames.num_frames > 1
        changes: dict[str, Any] = {"resize.resolution": 64}
        changes |= {"frames.num_frames": 9, "frames.fps": None} if videos else {}
        source = root / ("both" if videos else "images")
        energon_prep.encode(source, root / name, recipe=name, weights="tiny", torch_threads=1, changes=changes)
        energon_prep.index(root / name)
    parts = sample_parts(0, (16, 1, 4, 4), num_tokens=3)
    write_samples(root / POISONED, [{**parts, "pickle": pickle.dumps(Poison(root / MARK))}] * 4)
    energon_prep.index(root / POISONED)


def load(python: Path | str, datasets: Path) -> dict[str, Any]:
    """What ``tests.compat.load`` finds in a Python of its own. Raises RuntimeError with its output if it fails."""
    result = datasets / "found.json"
    done = subprocess.run(
        [str(python), "-W", "ignore", "-m", "tests.compat.load", str(datasets), str(result)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{python}: exit code {done.returncode}\n{done.stderr[-4000:]}")
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    wrong = [name for name in expected if name != "energon" and found.get(name) != expected[name]]
    wrong += [f"{name} is false" for name, value in found.items() if name.endswith(" goes on") and not value]
    wrong += ["a pickle ran"] if found["ran"] or found["poisoned"] else []
    return wrong


def main(environments: Path) -> int:
    with tempfile.TemporaryDirectory() as folder:
        datasets = Path(folder)
        write_datasets(datasets)
        expected = load(sys.executable, datasets)
        assert all(len(expected[name]) == 4 for name in ENCODERS), "the datasets are not what they should be"
        failed = False
        for environment in [None, *sorted(path for path in environments.iterdir() if path.is_dir())]:
            python = sys.executable if environment is None else environment / "bin" / "python"
            found = expected if environment is None else load(python, datasets)
            wrong = differences(found, expected)
            failed |= bool(wrong)
            sys.stdout.write(f"Energon {found['energon']}: {'; '.join(wrong) or 'the same batches'}\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
