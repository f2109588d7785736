from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CALL = """
import ctypes, json, os, sys
import torch
from PIL import Image

torch.set_num_threads(3)
Image.MAX_IMAGE_PIXELS = 1000

def state():
    return [dict(os.environ), torch.get_num_threads(), Image.MAX_IMAGE_PIXELS]

before = state()
import energon_prep
raw, dest = sys.argv[1:]
energon_prep.encode(raw, dest, weights="tiny", device="cpu", torch_threads=1,
                    resolution=64, limit=3)
print(json.dumps([before, state()]))
"""


def test_the_library_leaves_its_caller_s_process_as_it_was(raw: Path, tmp_path: Path) -> None:
    call = [sys.executable, "-c", CALL, str(raw), str(tmp_path / "dst")]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, after = json.loads(done.stdout.splitlines()[-1])
    assert after == before
