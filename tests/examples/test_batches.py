from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import torch

from tests.datasets import write_samples
from tests.task_encoders.trainers import CLIP, IMAGE, WIDE, numbers, serialized, stored

ROOT = Path(__file__).parents[2]

#: Script: target, the shapes of the dataset, arguments, and the first line of what is printed.
CASES = {
    "wan_batches.py": (
        "wan",
        [CLIP, IMAGE, WIDE],
        ["--seq-length", "40"],
        "video_latents [40, 1, 64] bfloat16",
    ),
    "flux_batches.py": (
        "flux",
        [WIDE, WIDE],
        ["--batch-size", "2"],
        "latents [2, 16, 4, 6] bfloat16",
    ),
    "dit_batches.py": (
        "dit",
        [CLIP, IMAGE, WIDE],
        ["--seq-length", "192"],
        "video [1, 192, 64] bfloat16",
    ),
    "nemo_dit_batches.py": (
        "nemo-dit",
        [CLIP, IMAGE],
        ["--seq-length", "32"],
        "video [2, 32, 64] bfloat16",
    ),
}


def test_every_trainer_has_an_example() -> None:
    assert {path.name for path in (ROOT / "examples").glob("*_batches.py")} == set(CASES)


@pytest.mark.parametrize("script", CASES)
@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")
def test_the_first_batch_is_printed(
    tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target, shapes, arguments, expected = CASES[script]
    samples = [stored(target, serial, shape, width=4096) for serial, shape in enumerate(shapes)]
    empty = torch.zeros(1, 4096).bfloat16()
    if target == "flux":
        for serial, parts in enumerate(samples):
            parts["pickle"]["pooled_prompt_embeds"] = numbers(serial, 768)
    empty_caption = (
        {"prompt_embeds": empty, "pooled_prompt_embeds": torch.zeros(768)}
        if target == "flux"
        else empty
    )
    dataset_dir = write_samples(
        tmp_path / "dataset",
        [*map(serialized, samples)] * 20,  # packs are filled from 40 samples
        subflavors={"target": target},
        empty_caption=empty_caption,
    )
    path = ROOT / "examples" / script
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60
    monkeypatch.setattr(sys, "argv", [script, str(dataset_dir), *arguments])
    runpy.run_path(str(path), run_name="__main__")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert expected in lines
    assert len(lines) >= 9
