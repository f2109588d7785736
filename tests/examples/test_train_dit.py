from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.datasets import SHAPES, write_dataset

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "train_dit.py"

pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("train") / "dataset", num_samples=48)


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("train_dit", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )


def test_the_script_is_short() -> None:
    """In statements, which do not depend on where lines are broken."""
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    assert sum(isinstance(node, ast.stmt) for node in ast.walk(tree)) <= 113


def test_the_loss_goes_down(dataset_dir: Path, tmp_path: Path) -> None:
    result = run(dataset_dir, "--checkpoint", tmp_path / "run.pt", "--steps", "100")
    assert result.returncode == 0, result.stderr
    means = re.search(
        r"mean loss of the first 20 steps ([\d.]+), of the last 20 steps ([\d.]+)", result.stdout
    )
    assert means is not None
    assert float(means[2]) < float(means[1])


def test_a_loss_that_does_not_go_down_is_exit_1(dataset_dir: Path, tmp_path: Path) -> None:
    result = run(dataset_dir, "--checkpoint", tmp_path / "run.pt", "--steps", "1")
    assert result.returncode == 1
    assert "did not go down" in result.stderr


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_is_the_uninterrupted_run(
    script: Any, dataset_dir: Path, tmp_path: Path, workers: int
) -> None:
    whole = script.train(dataset_dir, tmp_path / "whole.pt", steps=16, workers=workers)
    script.train(dataset_dir, tmp_path / "parts.pt", steps=7, workers=workers)
    parts = script.train(dataset_dir, tmp_path / "parts.pt", steps=9, workers=workers, resume=True)
    assert [keys for _, keys in parts] == [keys for _, keys in whole]
    assert [loss for loss, _ in parts] == [loss for loss, _ in whole]
    models = [
        torch.load(tmp_path / name, weights_only=False)["model"]
        for name in ("whole.pt", "parts.pt")
    ]
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("shape", [*SHAPES, (16, 3, 6, 8)])
def test_the_model_takes_any_bucket(script: Any, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = script.DiT(channels=16, text_width=8)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)  # it starts as zero, whatever comes in
    latents, time, text = torch.randn(2, *shape), torch.rand(2), torch.randn(2, 5, 8)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    velocity = model(latents, time, text, mask)
    assert velocity.shape == latents.shape
    text[1, 3:] = 100.0
    # padding is not looked at
    torch.testing.assert_close(model(latents, time, text, mask), velocity)
    text[1, 2] = 100.0
    assert not torch.allclose(model(latents, time, text, mask)[1], velocity[1])
