"""The fault campaign in small; ``make faults`` runs it in full."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("only", ["kill", "disk", "^(?!kill|disk)"])
def test_every_fault_is_survived_with_the_same_bytes(only: str, tmp_path: Path) -> None:
    """In a process of its own, which forks: pytest's has threads."""
    campaign = [sys.executable, "-m", "benchmarks.faults", "--scale", "0.015", "--json"]
    # where there is one: nothing here needs the disk, and its syncs take long
    memory = Path("/dev/shm")
    campaign += [
        "--only",
        only,
        "--folder",
        str(memory if os.access(memory, os.W_OK) else tmp_path),
    ]
    done = subprocess.run(
        campaign, capture_output=True, text=True, cwd=ROOT, check=False, timeout=500
    )
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert len(outcomes) >= 3
    for name, outcome in outcomes.items():
        assert outcome["trials"] > 0, name
        assert not outcome["problems"], name
    assert sum(outcome["disturbed"] for outcome in outcomes.values()) > len(outcomes) / 2, (
        "the faults missed"
    )
