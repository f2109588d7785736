"""Latents as a VAE gives them -> latents as training wants them, with the checkpoint's values."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

_LISTED = 64  #: statistics of more values than this are described by a hash


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """latent = (z - offset) * factor, in float32, on the latents' device."""

    #: [C or 1, T or 1, 1, 1] float32, per channel and, for Cosmos, per latent frame
    offset: torch.Tensor
    factor: torch.Tensor  #: of the same shape
    about: dict[str, Any]  #: JSON-able, for run.json

    @property
    def max_frames(self) -> int | None:
        """Latent frames that there are statistics for; None: any number."""
        frames = self.offset.shape[1]
        return None if frames == 1 else frames

    def to(self, device: torch.device) -> Normalization:
        return dataclasses.replace(
            self, offset=self.offset.to(device), factor=self.factor.to(device)
        )

    def apply(self, z: torch.Tensor) -> torch.Tensor:
        """Normalise ``z`` [B, C, T, H, W] float32."""
        return (z - self._at(self.offset, z)) * self._at(self.factor, z)

    def apply_to_logvar(self, logvar: torch.Tensor) -> torch.Tensor:
        """Log-variance [B, C, T, H, W] float32 of the normalised latent, of which ``logvar`` is
        that of z.
        """
        return logvar + 2 * self._at(self.factor, logvar).log()

    def _at(self, values: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return values[:, : z.shape[2]]


def read_normalization(
    model: Any, statistics: Literal["config", "buffers", "batch-norm"]
) -> Normalization:
    """What the checkpoint of ``model`` says of its latents.

    With mean and std: (z - mean) * scaling_factor / std; else (z - shift_factor) * scaling_factor,
    as diffusers' pipelines do it. ``buffers``: mean and std are tensors of the checkpoint (LTX);
    ``batch-norm``: they are the running statistics of a BatchNorm (FLUX.2).
    """
    config = model.config
    scale = _number(config.get("scaling_factor"), 1.0)
    shift = _number(config.get("shift_factor"), 0.0)
    channels = int(config.get("latent_channels") or config.get("z_dim"))
    if statistics == "batch-norm":
        mean, std = (
            model.bn.running_mean,
            (model.bn.running_var.float() + config["batch_norm_eps"]).sqrt(),
        )
        channels = len(mean)
    elif statistics == "buffers":
        mean, std = model.latents_mean, model.latents_std
    else:
        mean, std = config.get("latents_mean"), config.get("latents_std")
    if mean is None or std is None:
        offset, factor = torch.tensor([shift]), torch.tensor([scale])
        return Normalization(
            offset=offset.view(1, 1, 1, 1),
            factor=factor.view(1, 1, 1, 1),
            about={"shift": shift, "scale": scale, "mean": None, "std": None},
        )
    mean, std = (
        torch.as_tensor(values, dtype=torch.float32, device="cpu") for values in (mean, std)
    )
    return Normalization(
        offset=mean.view(channels, -1, 1, 1),
        factor=(scale / std).view(channels, -1, 1, 1),
        about={"shift": 0.0, "scale": scale, "mean": _described(mean), "std": _described(std)},
    )


def patchify(z: torch.Tensor, patch: int) -> torch.Tensor:
    """[B, C, T, H, W] -> [B, C * patch * patch, T, H / patch, W / patch], as
    ``Flux2Pipeline._patchify_latents``.
    """
    batch, channels, frames, height, width = z.shape
    z = z.view(batch, channels, frames, height // patch, patch, width // patch, patch)
    z = z.permute(0, 1, 4, 6, 2, 3, 5)  # [B, C, patch, patch, T, H / patch, W / patch]
    return z.reshape(batch, channels * patch * patch, frames, height // patch, width // patch)


def _number(value: float | None, default: float) -> float:
    return default if value is None else float(value)


def _described(values: torch.Tensor) -> Sequence[float] | dict[str, Any]:
    """The values themselves, or how many there are and the SHA-256 of them as little-endian
    float32.
    """
    if values.numel() <= _LISTED:
        return [float(f"{value:.7g}") for value in values.tolist()]  # -0.7571, not -0.75709999
    digest = hashlib.sha256(values.contiguous().numpy().astype("<f4").tobytes()).hexdigest()
    return {"values": values.numel(), "sha256": digest}
