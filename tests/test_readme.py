"""Every command of the README works, in its order, on a folder of photos."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs import SMALL, prep

README = Path(__file__).parent.parent / "README.md"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def place(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("readme")
    (root / "PHOTOS").symlink_to(raw)
    return root


def test_the_commands(place: Path) -> None:
    lines = [line.split("  #")[0] for block in _blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("energon-prep ")]
    assert len(commands) >= 8
    for args in commands:
        if args[0] == "encode" and "--weights" not in args and "--dry-run" not in args:
            args = [*args, *SMALL]  # the weights are the reader's to download
        prep(*args, cwd=place)
    assert (place / "ENCODED/.nv-meta/split.yaml").exists()


def test_the_training_snippet(place: Path) -> None:
    prep("encode", "PHOTOS", "ENCODED", *SMALL, "--split", "8,1,1", cwd=place)
    (snippet,) = [block for block in _blocks("python") if "LatentTaskEncoder" in block]
    code = snippet.replace("num_workers=4", "num_workers=0").replace(
        "...  #", "print(batch.latents.shape); break  #"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "torch.Size([8, 16, 1, " in done.stdout


def test_the_links_lead_somewhere() -> None:
    for page in [README, *(README.parent / "docs").glob("*.md"), README.parent / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
