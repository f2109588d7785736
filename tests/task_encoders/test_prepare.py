from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from task_encoders import LatentTaskEncoder, WanTaskEncoder
from task_encoders.prepare import draw_latent
from tests.datasets import write_samples
from tests.task_encoders.trainers import (
    CLIP,
    WIDTH,
    numbers,
    open_loader,
    sample,
    serialized,
    stored,
    take,
)

pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")


def test_a_draw_has_the_mean_and_variance_of_its_posterior() -> None:
    torch.manual_seed(0)
    mean, logvar = (
        torch.full((16, 1, 64, 64), 3.0).bfloat16(),
        torch.full((16, 1, 64, 64), -2.0).bfloat16(),
    )
    drawn = draw_latent(sample(latent=mean, logvar=logvar))
    assert drawn.logvar is None
    assert drawn.latent.dtype == torch.bfloat16
    assert drawn.latent.float().mean() == pytest.approx(3.0, abs=0.01)
    assert drawn.latent.float().var() == pytest.approx(torch.tensor(-2.0).exp().item(), rel=0.02)


def test_a_latent_without_moments_is_itself() -> None:
    original = sample()
    assert draw_latent(original) is original


@pytest.fixture(scope="module")
def moments_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of WAN: 32 channels, means and log-variances, and a JSON with the shape of what is
    drawn.
    """
    samples = []
    for serial in range(2):
        parts = stored("wan", serial, CLIP)
        samples.append(
            serialized({**parts, "pth": torch.cat([parts["pth"], numbers(9, *CLIP) - 3])})
        )
    return write_samples(
        tmp_path_factory.mktemp("moments") / "dataset", samples, subflavors={"target": "wan"}
    )


def wan_loader(dataset_dir: Path) -> Any:
    return open_loader(
        dataset_dir, WanTaskEncoder(seq_length=64, text_width=WIDTH), shuffle_buffer_size=None
    )


def test_each_epoch_draws_anew_and_each_run_the_same(moments_dir: Path) -> None:
    batches, _ = take(wan_loader(moments_dir), 6)
    again, _ = take(wan_loader(moments_dir), 6)
    drawn: dict[str, list[torch.Tensor]] = {}
    for one, other in zip(batches, again, strict=True):
        assert torch.equal(one["video_latents"], other["video_latents"])
        drawn.setdefault(one["video_metadata"][0]["key"], []).append(one["video_latents"])
    assert [len(latents) for latents in drawn.values()] == [3, 3]
    for first, second, third in drawn.values():
        assert not torch.equal(first, second)
        assert not torch.equal(second, third)
        assert first.shape[-1] == 64  # 16 channels


def test_a_restored_loader_draws_the_same(moments_dir: Path) -> None:
    whole, _ = take(wan_loader(moments_dir), 6)
    _, state = take(wan_loader(moments_dir), 2)
    restored = wan_loader(moments_dir)
    restored.restore_state_rank(state)
    for one, other in zip(whole[2:], take(restored, 4)[0], strict=True):
        assert torch.equal(one["video_latents"], other["video_latents"])


def test_the_generic_encoder_draws_too(moments_dir: Path) -> None:
    loader = open_loader(moments_dir, LatentTaskEncoder(), shuffle_buffer_size=None)
    (first, _, third), _ = take(loader, 3)
    assert first.latents.shape == third.latents.shape == (1, *CLIP)
    assert not torch.equal(first.latents, third.latents)
