"""A scriptable tokenizer with the interface of NVIDIA's Cosmos ``encoder.jit``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

_PATCH = 4  #: pixels per side that become channels before the first convolution, as in Cosmos


class CosmosEncoder(nn.Module):
    """Pixels [B, 3, T, H, W] in [-1, 1] -> (latent [B, C, 1 + (T - 1) / f, H / s, W / s],
    tensor([0.0])).

    Causal: a latent frame sees its own frames and earlier ones, the first one only the first frame,
    so an image is encoded as the first frame of a clip is. ``image``: [B, 3, H, W] -> [B, C, H / s,
    W / s] instead. The published Cosmos tokenizers have this interface (their encoder returns a
    second value that nobody uses); with ``widths`` 256, 512, 512 and two blocks this is of about
    their size and cost, but not their function.
    """

    def __init__(
        self,
        *,
        latent_channels: int,
        spatial_factor: int,
        temporal_factor: int,
        image: bool,
        widths: Sequence[int],
        num_blocks: int,
    ) -> None:
        super().__init__()
        self.image = image
        spatial = int(math.log2(spatial_factor // _PATCH))
        temporal = int(math.log2(temporal_factor))
        layers: list[nn.Module] = [_CausalConv(3 * _PATCH**2, widths[0], kernel=(3, 3, 3))]
        for level, width in enumerate(widths):
            before = widths[max(level - 1, 0)]
            layers += [_Block(before if i == 0 else width, width) for i in range(num_blocks)]
            strides = (2 if level < temporal else 1, 2 if level < spatial else 1)
            if strides != (1, 1):
                layers.append(_CausalConv(width, width, kernel=(3, 3, 3), stride=strides))
        layers += [
            _Norm(widths[-1]),
            nn.SiLU(),
            _CausalConv(widths[-1], latent_channels, kernel=(3, 3, 3)),
        ]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.image:
            assert x.dim() == 4, "this tokenizer takes images, [B, 3, H, W]"
            x = x.unsqueeze(2)
        assert x.dim() == 5, "this tokenizer takes clips, [B, 3, T, H, W]"
        batch, channels, frames, height, width = x.shape
        x = functional.pixel_unshuffle(
            x.transpose(1, 2).reshape(batch * frames, channels, height, width), 4
        )
        x = x.reshape(batch, frames, channels * 16, height // 4, width // 4).transpose(1, 2)
        x = self.layers(x)
        if self.image:
            x = x.squeeze(2)
        return x, torch.zeros([1])


class _CausalConv(nn.Module):
    """Convolution that pads time with copies of the first frame, in front only."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: tuple[int, int, int],
        stride: tuple[int, int] = (1, 1),
    ):
        super().__init__()
        self.frames_before = kernel[0] - 1
        padding = (0, kernel[1] // 2, kernel[2] // 2)
        self.conv = nn.Conv3d(
            inputs, outputs, kernel, stride=(stride[0], stride[1], stride[1]), padding=padding
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # [B, C, T, H, W]
        before = x[:, :, :1].repeat(1, 1, self.frames_before, 1, 1)
        out: torch.Tensor = self.conv(torch.cat([before, x], dim=2))
        return out


class _Norm(nn.Module):
    """Group normalisation of each frame by itself: statistics over time would not be causal."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels, eps=1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # [B, C, T, H, W]
        batch, channels, frames, height, width = x.shape
        x = self.norm(x.transpose(1, 2).reshape(batch * frames, channels, height, width))
        return x.reshape(batch, frames, channels, height, width).transpose(1, 2)


class _Block(nn.Module):
    """Residual block: a convolution in space, then one in time."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _Norm(inputs),
            nn.SiLU(),
            _CausalConv(inputs, outputs, kernel=(1, 3, 3)),
            _CausalConv(outputs, outputs, kernel=(3, 1, 1)),
            _Norm(outputs),
            nn.SiLU(),
            _CausalConv(outputs, outputs, kernel=(1, 3, 3)),
            _CausalConv(outputs, outputs, kernel=(3, 1, 1)),
        )
        self.skip = (
            _CausalConv(inputs, outputs, kernel=(1, 1, 1)) if inputs != outputs else nn.Identity()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.skip(x) + self.body(x)
        return out
