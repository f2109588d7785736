"""Images and clips -> latents, with diffusers' autoencoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch

from energon_prep.encoders.pretrained import on_device
from energon_prep.encoders.transfer import to_device, to_host
from energon_prep.encoders.visual_classes import VisualClass
from energon_prep.encoders.visual_normalize import patchify, read_normalization
from energon_prep.errors import PrepError

#: Height * width from which ``tiling: auto`` takes tiles: beyond what the models were released for.
TILED_IMAGE_PIXELS = 2048 * 2048
TILED_CLIP_PIXELS = 1280 * 720

Posterior = Literal["mean", "sample", "moments"]
Tiling = Literal["auto", "always", "never"]


def to_model_range(
    pixels: torch.Tensor, *, device: torch.device, dtype: torch.dtype, channels_last: bool = False
) -> torch.Tensor:
    """Pixels [B, T, H, W, 3] uint8 -> [B, 3, T, H, W] in [-1, 1] on ``device``; 127.5 becomes 0."""
    moved = to_device(pixels, device).permute(0, 4, 1, 2, 3)
    memory_format = torch.preserve_format if channels_last else torch.contiguous_format
    return moved.to(torch.float32, memory_format=memory_format).div_(127.5).sub_(1.0).to(dtype)


def draw_noise(shape: Sequence[int], seeds: Sequence[int]) -> torch.Tensor:
    """Standard normal noise [B, *shape] float32, on the CPU: a sample's draw depends on its seed
    alone.
    """
    return torch.stack(
        [torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )


def check_size(shape: Sequence[int], *, spatial_factor: int, temporal_factor: int | None) -> None:
    """Raise ValueError if pixels of ``shape`` [B, T, H, W, 3] are not what an encoder of these
    factors takes.

    ``temporal_factor`` None: it takes images only.
    """
    _, frames, height, width, _ = shape
    if temporal_factor is None and frames != 1:
        raise ValueError(f"this encoder takes images, not clips of {frames} frames")
    if (frames - 1) % (temporal_factor or 1):
        raise ValueError(f"{frames} frames are not 1 plus a multiple of {temporal_factor}")
    if height % spatial_factor or width % spatial_factor:
        raise ValueError(f"{height}x{width} pixels are no multiple of {spatial_factor}")


def is_tiled(
    tiling: Tiling, tile_pixels: int | None, *, frames: int, height: int, width: int
) -> bool:
    """Whether frames of this size are encoded in tiles; of nothing but the size, so that bytes
    depend on no device.
    """
    if tiling != "auto":
        return tiling == "always"
    return height * width > (
        tile_pixels or (TILED_IMAGE_PIXELS if frames == 1 else TILED_CLIP_PIXELS)
    )


class DiffusersEncoder:
    """A frozen diffusers autoencoder. A clip's VAE takes an image as a clip of one frame."""

    def __init__(
        self,
        *,
        model: Any,
        kind: VisualClass,
        dtype: torch.dtype,
        device: torch.device,
        posterior: Posterior,
        normalize: bool,
        tiling: Tiling = "auto",
        tile_pixels: int | None = None,
        channels_last: bool = False,
        about: dict[str, Any],
    ) -> None:
        config = model.config
        self.spatial_factor, frames = kind.factors(config)
        self.temporal_factor = frames if kind.clips else None
        self._patch = int(config["patch_size"][0]) if kind.statistics == "batch-norm" else 1
        self.channels = int(config.get("latent_channels") or config.get("z_dim")) * self._patch**2
        self._model = model
        self._model_dtype = next(model.parameters()).dtype
        self._kind = kind
        self._dtype = dtype
        self._device = device
        self._posterior = posterior
        self._normalize = normalize
        self._normalization = read_normalization(model, kind.statistics).to(device)
        self._tiling = tiling
        self._tile_pixels = tile_pixels
        self._channels_last = channels_last
        self._about = about

    def launch(self, pixels: torch.Tensor, seeds: Sequence[int]) -> Callable[[], torch.Tensor]:
        """Begin to encode ``pixels`` [B, T, H, W, 3] uint8 to [B, C, 1 + (T - 1) / f, H / s, W /
        s].

        Of posterior "moments", [B, 2 C, ...]: the means and then the log-variances, of what a
        normalised draw is. Raises ValueError for a size or a number of frames that the factors s
        and f do not divide, PrepError for clips that are longer than the checkpoint's statistics.
        """
        check_size(
            pixels.shape,
            spatial_factor=self.spatial_factor,
            temporal_factor=self.temporal_factor,
        )
        self._check_length(pixels.shape[1])
        self._set_tiling(pixels.shape)
        with torch.inference_mode():
            latents = self._latents(pixels, seeds)
        # outside inference mode: an ordinary tensor
        return to_host(latents.to(self._dtype).clone())

    def encode(self, pixels: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """What ``launch`` begins, awaited."""
        return self.launch(pixels, seeds)()

    def move_to(self, device: torch.device | str) -> None:
        self._device = torch.device(device)
        self._model = on_device(self._model, self._device)
        self._normalization = self._normalization.to(self._device)

    def describe(self) -> dict[str, Any]:
        return {
            **self._about,
            "class": type(self._model).__name__,
            "dtype": str(self._dtype).removeprefix("torch."),
            "model_dtype": str(self._model_dtype).removeprefix("torch."),
            "channels_last": self._channels_last,
            "posterior": self._posterior,
            "normalize": "checkpoint" if self._normalize else "none",
            **self._normalization.about,
            "channels": self.channels,
            "spatial_factor": self.spatial_factor,
            "temporal_factor": self.temporal_factor,
            "tiling": self._tiling,
            "tile_pixels": self._tile_pixels,
        }

    def _latents(self, pixels: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        mean, logvar = self._moments(pixels)
        if self._posterior == "sample" and logvar is not None:
            noise = to_device(draw_noise(mean.shape[1:], seeds), self._device)
            mean = mean + (0.5 * logvar).exp() * noise
        mean = patchify(mean, self._patch)
        if self._normalize:
            mean = self._normalization.apply(mean)
        if self._posterior != "moments" or logvar is None:
            return mean
        logvar = patchify(logvar, self._patch)
        if self._normalize:
            logvar = self._normalization.apply_to_logvar(logvar)
        return torch.cat([mean, logvar], dim=1)

    def _moments(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Mean and log-variance, [B, C, T, H, W] float32, as the model gives them."""
        pixel_dtype = torch.float32 if self._kind.exact_pixels else self._model_dtype
        clips = to_model_range(
            pixels, device=self._device, dtype=pixel_dtype, channels_last=self._channels_last
        )
        output = self._model.encode(clips if self._kind.clips else clips[:, :, 0])
        if not self._kind.gaussian:
            latent = output.latent_dist.mode() if "latent_dist" in output else output.latent
            return self._as_clip(latent), None
        posterior = output.latent_dist
        return self._as_clip(posterior.mean), self._as_clip(posterior.logvar)

    def _as_clip(self, latent: torch.Tensor) -> torch.Tensor:
        return (latent if self._kind.clips else latent.unsqueeze(2)).float().contiguous()

    def _check_length(self, frames: int) -> None:
        longest = self._normalization.max_frames if self._normalize else None
        if longest is not None and 1 + (frames - 1) // (self.temporal_factor or 1) > longest:
            raise PrepError(
                f"{type(self._model).__name__} has statistics of {longest} latent frames, and "
                f"a clip has {frames} frames: use --frames "
                f"{1 + (longest - 1) * (self.temporal_factor or 1)} at most"
            )

    def _set_tiling(self, shape: Sequence[int]) -> None:
        _, frames, height, width, _ = shape
        if is_tiled(self._tiling, self._tile_pixels, frames=frames, height=height, width=width):
            self._model.enable_tiling()
        elif self._kind.tiles:
            self._model.disable_tiling()
