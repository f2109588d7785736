from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PEAK = """
import resource, sys
from energon_prep.device.tuning import tune_process

tune_process()  # as the command line and workers do
import energon_prep
energon_prep.encode(sys.argv[1], sys.argv[2], weights="tiny", torch_threads=1,
                    limit=int(sys.argv[3]), resolution=64, set={"window": 64})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="ru_maxrss has other units elsewhere"
)
def test_peak_memory_does_not_grow_with_the_samples(tmp_path: Path) -> None:
    source = tmp_path / "raw"
    source.mkdir()
    rng = np.random.default_rng(0)
    for i in range(2000):
        height, width = rng.integers(40, 120, 2)
        pixels = rng.integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((width, height)).save(source / f"{i:04d}.jpg")
        (source / f"{i:04d}.txt").write_text(f"picture {i} " + "of many words " * (i % 9))
    peaks = {}
    for num in (500, 2000):
        args = [sys.executable, "-c", PEAK, str(source), str(tmp_path / str(num)), str(num)]
        peaks[num] = int(subprocess.run(args, capture_output=True, check=True, text=True).stdout)
    assert peaks[2000] < 1.10 * peaks[500], peaks
