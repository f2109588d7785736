from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.datasets import WIDTH, write_dataset

ROOT = Path(__file__).parents[2]


def test_both_ways_give_a_batch(tmp_path: Path) -> None:
    result = subprocess.run(
        [
            sys.executable,
            str(ROOT / "examples" / "megatron_bridge_config.py"),
            str(write_dataset(tmp_path / "dataset")),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert first.startswith("way 1: latents [2, 16, 1, ")
    assert first.endswith(f"{WIDTH}]")
    assert second.startswith("way 2: pth [1, 16, 1, ")
