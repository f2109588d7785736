from __future__ import annotations

import pickle
import runpy
import sys
from pathlib import Path

import pytest
import torch

from tests.datasets import SHAPES, Poison, write_dataset

SCRIPT = str(Path(__file__).parents[2] / "examples/webdataset_loader.py")


@pytest.mark.parametrize("num_workers", [0, 2])
def test_each_sample_comes_once_in_batches_of_one_shape(num_workers: int, tmp_path: Path) -> None:
    dataset_dir = write_dataset(tmp_path / "dataset", num_samples=20, num_shards=4)
    open_loader = runpy.run_path(SCRIPT)["open_loader"]
    batches = list(open_loader(dataset_dir, batch_size=3, num_workers=num_workers))
    assert sorted(key for batch in batches for key in batch["keys"]) == [
        f"{i:09d}" for i in range(20)
    ]
    for batch in batches:
        assert batch["latents"].shape[1:] in {torch.Size(shape) for shape in SHAPES}
        firsts = [int(latent.view(-1)[0]) for latent in batch["latents"]]
        assert (
            firsts
            == [int(key) for key in batch["keys"]]
            == [int(text[0, 0]) for text in batch["text"]]
        )


def test_the_first_batch_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset_dir = write_dataset(tmp_path / "dataset", num_samples=8, num_shards=2)
    monkeypatch.setattr(
        sys, "argv", ["webdataset_loader.py", str(dataset_dir), "--batch-size", "2"]
    )
    capsys.readouterr()
    runpy.run_path(SCRIPT, run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("latents [2, 16, 1, ")
    assert lines[-1] == "8 samples"


def test_pickles_run_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "exploded"
    poisoned = {0: {"pickle": pickle.dumps(Poison(mark))}}
    dataset_dir = write_dataset(tmp_path / "dataset", num_samples=2, num_shards=1, replace=poisoned)
    with pytest.raises(ValueError, match="asks for"):
        list(runpy.run_path(SCRIPT)["open_loader"](dataset_dir, batch_size=1))
    assert not mark.exists()
