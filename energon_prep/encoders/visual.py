"""Station 3, encoders: images -> latents, with diffusers' AutoencoderKL (SD, SDXL, SD3, FLUX.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch


def to_model_range(pixels: torch.Tensor, *, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Pixels [B, T, H, W, 3] uint8 -> [B, 3, T, H, W] in [-1, 1] on ``device``; 127.5 becomes 0."""
    moved = pixels.to(device, non_blocking=True).permute(0, 4, 1, 2, 3)
    return moved.to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1.0).to(dtype)


def draw_noise(shape: Sequence[int], seeds: Sequence[int]) -> torch.Tensor:
    """Standard normal noise [B, *shape] float32, on the CPU: a sample's draw depends on its seed alone."""
    return torch.stack([torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed)) for seed in seeds])


class AutoencoderKLEncoder:
    """A frozen diffusers ``AutoencoderKL``. Images only: T is 1."""

    temporal_factor = 1
    images_only = True

    def __init__(
        self,
        *,
        model: Any,
        dtype: torch.dtype,
        device: torch.device,
        posterior: Literal["mean", "sample", "moments"],
        normalize: bool,
        about: dict[str, Any],
    ) -> None:
        config = model.config
        self.spatial_factor = 2 ** (len(config.block_out_channels) - 1)
        self.channels = int(config.latent_channels)
        self._model = model
        self._dtype = dtype
        self._device = device
        self._posterior = posterior
        self._normalize = normalize
        self._shift = float(config.get("shift_factor") or 0.0)
        self._scale = float(config.scaling_factor)
        self._mean = config.get("latents_mean")  # one value per channel; some SDXL derivatives have them
        self._std = config.get("latents_std")
        self._about = about

    def encode(self, pixels: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """Encode ``pixels`` [B, 1, H, W, 3] uint8 to [B, C, 1, H / s, W / s], on the encoder's device.

        Raises ValueError for more than one frame, or a size that is no multiple of the spatial factor.
        """
        _, frames, height, width, _ = pixels.shape
        if frames != 1:
            raise ValueError(f"AutoencoderKL encodes images, not clips of {frames} frames")
        if height % self.spatial_factor or width % self.spatial_factor:
            raise ValueError(f"{height}x{width} pixels are no multiple of {self.spatial_factor}")
        with torch.inference_mode():
            images = to_model_range(pixels, device=self._device, dtype=self._dtype)[:, :, 0]
            moments = self._model.encode(images).latent_dist
            z: torch.Tensor = moments.mean.float()
            if self._posterior == "sample":
                z = z + (0.5 * moments.logvar.float()).exp() * draw_noise(z.shape[1:], seeds).to(self._device)
            if self._normalize:
                z = self._normalized(z)
        return z.unsqueeze(2).to(self._dtype).clone()  # outside inference mode: an ordinary tensor

    def describe(self) -> dict[str, Any]:
        return {
            **self._about,
            "class": type(self._model).__name__,
            "dtype": str(self._dtype).removeprefix("torch."),
            "posterior": self._posterior,
            "normalize": "checkpoint" if self._normalize else "none",
            "shift": self._shift,
            "scale": self._scale,
            "mean": self._mean,
            "std": self._std,
            "channels": self.channels,
            "spatial_factor": self.spatial_factor,
            "temporal_factor": self.temporal_factor,
        }

    def _normalized(self, z: torch.Tensor) -> torch.Tensor:
        """(z - shift) * scale or, with statistics per channel, (z - mean) * scale / std, as diffusers' pipelines do."""
        if self._mean is None or self._std is None:
            return (z - self._shift) * self._scale
        mean = torch.tensor(self._mean, device=z.device).view(1, -1, 1, 1)
        std = torch.tensor(self._std, device=z.device).view(1, -1, 1, 1)
        return (z - mean) * self._scale / std
