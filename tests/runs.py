"""Running the tool as a user does: in its own process."""

from __future__ import annotations

import functools
import hashlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import NoReturn

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
    words = [str(word) for word in args]
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        run = _forks().Process(target=_prep, args=(words, cwd, dict(os.environ), out, err))
        run.start()
        run.join(300)
        if run.is_alive():
            run.kill()
            raise AssertionError(f"still running: {words}\n{err.read_text(errors='replace')}")
        stdout, stderr = out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")
    assert run.exitcode == code, f"exit code {run.exitcode}\n{stdout}\n{stderr}"
    return subprocess.CompletedProcess(words, run.exitcode, stdout, stderr)


@functools.cache
def _forks() -> ForkServerContext:
    """Forks processes that have imported what takes seconds, and have done nothing else."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["diffusers", "energon_prep.encoders.visual_weights", "energon_prep.run.encode"]
    )
    return context


def _prep(
    words: list[str], cwd: Path | None, environment: dict[str, str], out: Path, err: Path
) -> NoReturn:
    from energon_prep.cli import main

    for path, number in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd or Path.cwd())
    main(args=words, prog_name="energon-prep")
    raise AssertionError("a command ends with its exit code")


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "energon_prep", *map(str, args)]


def tar_digests(dest: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(dest.glob("*.tar"))
    }
