from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.task_encoders.trainers import IMAGE, WIDE, WIDTH, serialized, stored, write_target

ROOT = Path(__file__).parents[2]


def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            str(ROOT / "examples" / "megatron_bridge_config.py"),
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )


@pytest.mark.parametrize("model", ["wan", "flux"])
def test_both_ways_give_a_batch_and_the_position_is_saved(tmp_path: Path, model: str) -> None:
    dataset_dir = write_target(tmp_path / "dataset", model, [IMAGE, WIDE] * 6)
    result = run(dataset_dir, "--model", model)
    assert result.returncode == 0, result.stderr
    first, resumed, second = result.stdout.splitlines()
    assert first.startswith("way 1: latents [1, 16, 1, 4, ")
    assert first.endswith(f"{WIDTH}]")
    assert resumed == "way 1: resumed with the same batch: True"
    assert second.startswith(
        "way 2: pth [1, 16, 1, 4, " if model == "wan" else "way 2: pth [1, 16, 4, "
    )
    assert second.endswith(f"pickle [1, 3, {WIDTH}]")


def test_flux_without_pooled_embeddings_is_refused() -> None:
    """Bridge's own encoder would train on zeros."""
    script = runpy.run_path(str(ROOT / "examples" / "megatron_bridge_config.py"))
    parts = serialized(stored("wan", 1, IMAGE))
    sample = {"__key__": "7", "__restore_key__": (7,), "__subflavors__": {}, **parts}
    with pytest.raises(ValueError, match="sample 7: no pooled embeddings, which FLUX has of CLIP"):
        script["cook_flux_parts"](sample)
