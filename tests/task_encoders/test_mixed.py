"""A clip of 17 frames and an image in one dataset train in one loop."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from task_encoders import DiTTaskEncoder, LatentTaskEncoder, NeMoDiTTaskEncoder, WanTaskEncoder
from tests.task_encoders.trainers import CLIP, IMAGE, WIDTH, open_loader, write_target

pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")

#: Target, encoder, options of the loader, and what of a batch is [..., 64] tokens or a latent [B,
#: 16, ...].
CASES: dict[str, Any] = {
    "latent": (
        "wan",
        LatentTaskEncoder,
        {"batch_size": 2},
        lambda batch: batch.latents.flatten(2).mT,
    ),
    "dit": ("dit", DiTTaskEncoder, {"batch_size": 2}, lambda batch: batch["video"]),
    "nemo-dit": (
        "nemo-dit",
        lambda: NeMoDiTTaskEncoder(max_seq_length=40),
        {"packing_buffer_size": 4},
        lambda batch: batch["video"],
    ),
    "wan": (
        "wan",
        lambda: WanTaskEncoder(seq_length=40, text_width=WIDTH),
        {"packing_buffer_size": 4},
        lambda batch: batch["video_latents"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_loop_trains_on_both(tmp_path: Path, case: str) -> None:
    target, make, options, tokens_of = CASES[case]
    dataset_dir = write_target(tmp_path / "dataset", target, [CLIP, IMAGE] * 4)
    torch.manual_seed(0)
    model, losses, frames = nn.LazyLinear(4), [], set[int]()
    decoder, optimizer = nn.LazyLinear(16 if case == "latent" else 64), None
    for batch in itertools.islice(open_loader(dataset_dir, make(), **options), 60):
        tokens = tokens_of(batch).float().clamp(-3, 3)
        loss = nn.functional.mse_loss(decoder(model(tokens)), tokens)
        optimizer = optimizer or torch.optim.AdamW(
            [*model.parameters(), *decoder.parameters()], lr=1e-2
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if case == "latent":
            frames.add(batch.latents.shape[2])
        else:
            frames |= set(
                (
                    batch["grid_sizes"][:, 0] if case == "wan" else batch["latent_shape"][:, 1]
                ).tolist()
            )
    assert frames == {1, 5}
    assert sum(losses[-10:]) < sum(losses[:10])
