from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from diffusers.configuration_utils import FrozenDict
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from energon_prep.encoders.visual_normalize import patchify, read_normalization

Z = torch.randn(2, 4, 3, 4, 6, generator=torch.Generator().manual_seed(0))


def model(*, config: dict[str, Any], **tensors: Any) -> SimpleNamespace:
    return SimpleNamespace(config=FrozenDict({"latent_channels": 4, **config}), **tensors)


def test_scale_and_shift() -> None:
    found = read_normalization(
        model(config={"scaling_factor": 0.3611, "shift_factor": 0.1159}), "config"
    )
    torch.testing.assert_close(found.apply(Z), (Z - 0.1159) * 0.3611)
    assert found.about == {"shift": 0.1159, "scale": 0.3611, "mean": None, "std": None}
    assert found.max_frames is None


def test_a_config_without_any_of_them_leaves_latents_as_they_are() -> None:
    found = read_normalization(model(config={"shift_factor": None}), "config")
    assert torch.equal(found.apply(Z), Z)
    assert torch.equal(found.apply_to_logvar(Z), Z)


def test_statistics_per_channel_go_with_the_scale() -> None:
    """Some SDXL derivatives have them, and Mochi."""
    mean, std = [0.1, 0.2, 0.3, 0.4], [1.0, 2.0, 3.0, 4.0]
    config = {"scaling_factor": 0.5, "latents_mean": mean, "latents_std": std}
    found = read_normalization(model(config=config), "config")
    columns = [torch.tensor(values).view(1, 4, 1, 1, 1) for values in (mean, std)]
    torch.testing.assert_close(found.apply(Z), (Z - columns[0]) * 0.5 / columns[1])
    torch.testing.assert_close(found.apply_to_logvar(Z), Z + 2 * (0.5 / columns[1]).log())
    assert np.allclose(found.about["mean"], mean)
    assert np.allclose(found.about["std"], std)


def test_statistics_per_latent_frame_are_taken_from_the_first_on() -> None:
    mean = [float(channel * 10 + frame) for channel in range(4) for frame in range(5)]
    found = read_normalization(
        model(config={"latents_mean": mean, "latents_std": [1.0] * 20}), "config"
    )
    assert found.max_frames == 5
    shifted = Z - found.apply(Z)
    torch.testing.assert_close(
        shifted[0, 2, :, 0, 0], torch.tensor([20.0, 21.0, 22.0]), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(found.apply(Z[:, :, :1]), found.apply(Z)[:, :, :1])


def test_buffers_win_over_the_config_where_the_class_has_them() -> None:
    mean, std = torch.arange(4.0), torch.arange(1.0, 5.0).bfloat16()
    found = read_normalization(
        model(config={"scaling_factor": 2.0}, latents_mean=mean, latents_std=std), "buffers"
    )
    expected = (Z - mean.view(1, 4, 1, 1, 1)) * 2.0 / std.float().view(1, 4, 1, 1, 1)
    torch.testing.assert_close(found.apply(Z), expected)


def test_batch_norm_statistics_are_those_of_the_patchified_latent() -> None:
    norm = nn.BatchNorm2d(16, eps=1e-2, affine=False).eval()
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(torch.arange(16.0))
    norm.running_var.copy_(torch.arange(1.0, 17.0))
    found = read_normalization(model(config={"batch_norm_eps": 1e-2}, bn=norm), "batch-norm")
    z = patchify(Z[:, :, :1], 2)
    torch.testing.assert_close(found.apply(z)[:, :, 0], norm(z[:, :, 0]))


def test_long_statistics_are_described_by_a_hash() -> None:
    values = torch.linspace(0, 1, 128)
    found = read_normalization(
        model(config={"latent_channels": 128}, latents_mean=values, latents_std=values + 1),
        "buffers",
    )
    digest = hashlib.sha256(values.numpy().tobytes()).hexdigest()
    assert found.about["mean"] == {"values": 128, "sha256": digest}


@given(
    batch=st.integers(1, 2),
    channels=st.integers(1, 3),
    frames=st.integers(1, 2),
    height=st.integers(1, 3),
    width=st.integers(1, 3),
    patch=st.integers(1, 3),
)
def test_patchify_makes_channels_of_neighbours(
    batch: int, channels: int, frames: int, height: int, width: int, patch: int
) -> None:
    z = torch.arange(batch * channels * frames * height * width * patch**2, dtype=torch.float32)
    z = z.view(batch, channels, frames, height * patch, width * patch)
    patches = patchify(z, patch)
    assert patches.shape == (batch, channels * patch**2, frames, height, width)
    for frame in range(frames):
        unshuffled = torch.nn.functional.pixel_unshuffle(z[:, :, frame], patch)
        assert torch.equal(patches[:, :, frame], unshuffled)
