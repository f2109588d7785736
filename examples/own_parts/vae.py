"""A visual encoder: the model of another library, wrapped."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class PatchModel(nn.Module):
    """Stands for a VAE of another library: images [B, 3, H, W] in [-1, 1] -> [B, C, H / 4, W /
    4].
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, channels, kernel_size=4, stride=4, bias=False)
        generator = torch.Generator().manual_seed(0)  # where others load a checkpoint
        nn.init.normal_(self.patches.weight, std=0.1, generator=generator)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.patches(images)


class PatchVae:
    """Images alone: it has no temporal_factor."""

    spatial_factor = 4

    def __init__(self, *, device: torch.device, dtype: torch.dtype, channels: int = 4) -> None:
        self.model = PatchModel(channels).eval().requires_grad_(False).to(device)
        self.device = device

    def encode(self, pixels: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        images = pixels[:, 0].to(self.device).permute(0, 3, 1, 2)  # [B, 3, H, W]
        return self.model(images / 127.5 - 1)

    def move_to(self, device: torch.device | str) -> None:
        """For --phases."""
        self.model.to(device)
        self.device = torch.device(device)
