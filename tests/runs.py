"""Running the tool as a user does: in its own process."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

SMALL = (
    "--weights",
    "tiny",
    "--resolution",
    "64",
    "--samples-per-shard",
    "10",
    "--torch-threads",
    "1",
)


def prep(*args: object, cwd: Path | None = None, code: int = 0) -> subprocess.CompletedProcess[str]:
    """``energon-prep ARGS``; fails unless it exits with ``code``."""
    done = subprocess.run(
        command(*args), capture_output=True, text=True, cwd=cwd, check=False, timeout=300
    )
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "energon_prep", *map(str, args)]


def tar_digests(dest: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(dest.glob("*.tar"))
    }
