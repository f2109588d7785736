"""Compares what our task encoders make of datasets under several versions of Energon.

python -m tests.compat ENVIRONMENTS    a folder of virtual environments, each with one Energon
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
from energon_prep.demo.data import make_raw_dataset, make_raw_videos
from energon_prep.recipes.load import load_recipe
from tests.compat.load import ENCODERS, MARK, POISONED
from tests.datasets import Poison, sample_parts, write_samples

ROOT = Path(__file__).parents[2]


def write_datasets(root: Path) -> None:
    """One for each trainer, on tiny weights, and one with pickles that would run something."""
    make_raw_dataset(root / "images", num=4, min_side=150, max_side=200)
    make_raw_dataset(root / "both", num=3, min_side=150, max_side=200)
    make_raw_videos(root / "both" / "clips", num=1)
    for name in ENCODERS:
        videos = load_recipe(name).frames.num_frames > 1
        changes: dict[str, Any] = {"resize.resolution": 64}
        changes |= {"frames.num_frames": 9, "frames.fps": None} if videos else {}
        source = root / ("both" if videos else "images")
        options: dict[str, Any] = {"weights": "tiny", "torch_threads": 1, "set": changes}
        energon_prep.encode(source, root / name, recipe=name, **options)
        energon_prep.index(root / name)
    parts = sample_parts(0, (16, 1, 4, 4), num_tokens=3)
    write_samples(root / POISONED, [{**parts, "pickle": pickle.dumps(Poison(root / MARK))}] * 4)
    energon_prep.index(root / POISONED)


def load(python: Path | str, datasets: Path) -> dict[str, Any]:
    """What ``tests.compat.load`` finds in a Python of its own. Raises RuntimeError if it fails."""
    result = datasets / "found.json"
    command = [str(python), "-W", "ignore", "-m", "tests.compat.load", str(datasets), str(result)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{python}: exit code {done.returncode}\n{done.stderr[-4000:]}")
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """In words: other batches, a loader that does not go on, a pickle that ran."""
    compared = [name for name in expected if name != "energon"]
    wrong = [name for name in compared if found.get(name) != expected[name]]
    wrong += [name for name, value in found.items() if name.endswith(" goes on") and not value]
    wrong += ["a pickle ran"] if found["ran"] or found["poisoned"] else []
    return wrong


def main(environments: Path) -> int:
    with tempfile.TemporaryDirectory() as folder:
        datasets = Path(folder)
        write_datasets(datasets)
        expected = load(sys.executable, datasets)
        assert all(len(expected[name]) == 4 for name in ENCODERS), "there are samples missing"
        reports = [
            expected,
            *(load(path, datasets) for path in sorted(environments.glob("*/bin/python"))),
        ]
    wrong = [differences(report, expected) for report in reports]
    for report, names in zip(reports, wrong, strict=True):
        sys.stdout.write(f"Energon {report['energon']}: {', '.join(names) or 'the same batches'}\n")
    return int(any(wrong))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
