"""Images and clips -> latents, with NVIDIA's Cosmos tokenizers (TorchScript ``encoder.jit``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from energon_prep.encoders.transfer import to_host
from energon_prep.encoders.visual import check_size, to_model_range
from energon_prep.errors import PrepError

# of a clip that every published factor (4 or 8 frames, 8 or 16 pixels) divides
_PROBE_FRAMES, _PROBE_SIDE = 9, 64


class CosmosJitEncoder:
    """A frozen continuous Cosmos tokenizer. Latents are stored as they come: the trainers' steps
    scale them.

    The file tells nothing of its factors, so a small clip is encoded to find them. Video tokenizers
    (CV) take images as clips of one frame; image tokenizers (CI) take [B, 3, H, W] and nothing
    else.
    """

    def __init__(
        self,
        *,
        load: Callable[[torch.device], Any],  # reads the module onto a device
        dtype: torch.dtype,  # of the latents
        compute_dtype: torch.dtype,
        device: torch.device,
        about: dict[str, Any],
    ) -> None:
        self._load = load
        self._module = load(device)
        self._dtype = dtype
        self._compute_dtype = compute_dtype
        self._device = device
        self._about = about
        self._takes_clips, latent = self._probe()  # latent of the probe, [1, C, T', H', W']
        _, self.channels, frames, rows, _ = latent.shape
        self.spatial_factor = _PROBE_SIDE // rows
        self.temporal_factor: int | None = None
        if self._takes_clips:
            self.temporal_factor = (_PROBE_FRAMES - 1) // (frames - 1) if frames > 1 else 1

    def launch(self, pixels: torch.Tensor, seeds: Sequence[int]) -> Callable[[], torch.Tensor]:
        """Begin to encode ``pixels`` [B, T, H, W, 3] uint8 to [B, C, 1 + (T - 1) / f, H / s, W /
        s].

        ``seeds`` are not used: the published tokenizers are plain autoencoders. Raises ValueError
        for a size or a number of frames that the tokenizer does not divide.
        """
        check_size(
            pixels.shape,
            spatial_factor=self.spatial_factor,
            temporal_factor=self.temporal_factor,
        )
        latent = self._run(
            to_model_range(pixels, device=self._device, dtype=self._compute_dtype),
            self._takes_clips,
        )
        return to_host(latent.to(self._dtype).clone())

    def encode(self, pixels: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """What ``launch`` begins, awaited."""
        return self.launch(pixels, seeds)()

    def move_to(self, device: torch.device | str) -> None:
        self._device = torch.device(device)
        self._module = None  # not two of them at once
        self._module = self._load(self._device)

    def describe(self) -> dict[str, Any]:
        return {
            **self._about,
            "class": "CosmosTokenizer",
            "dtype": str(self._dtype).removeprefix("torch."),
            "model_dtype": str(self._compute_dtype).removeprefix("torch."),
            "posterior": "mean",
            "normalize": "none",
            "shift": 0.0,
            "scale": 1.0,
            "channels": self.channels,
            "spatial_factor": self.spatial_factor,
            "temporal_factor": self.temporal_factor,
        }

    def _run(self, pixels: torch.Tensor, takes_clips: bool) -> torch.Tensor:
        """[B, 3, T, H, W] -> [B, C, T', H', W'].

        Unoptimised, because TorchScript's profiling executor rewrites the graph after the first
        calls, and fused kernels need not give the same bits.
        """
        with torch.inference_mode(), torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            output = self._module(pixels if takes_clips else pixels[:, :, 0])
        latent = output if isinstance(output, torch.Tensor) else output[0]
        return latent if takes_clips else latent.unsqueeze(2)

    def _probe(self) -> tuple[bool, torch.Tensor]:
        clip = torch.zeros(
            1,
            3,
            _PROBE_FRAMES,
            _PROBE_SIDE,
            _PROBE_SIDE,
            dtype=self._compute_dtype,
            device=self._device,
        )
        errors = []
        for takes_clips, pixels in ((True, clip), (False, clip[:, :, :1])):
            try:
                latent = self._run(pixels, takes_clips)
            except (RuntimeError, torch.jit.Error) as error:  # shape or dtype do not fit
                errors.append(str(error).strip().splitlines()[-1])
                continue
            if latent.ndim == 5 and latent.is_floating_point():
                return takes_clips, latent
            errors.append(f"it returned a {latent.dtype} tensor with {latent.ndim} dimensions")
        raise PrepError(
            f"visual encoder '{self._about['model']}' encodes neither clips nor images in "
            f"{self._compute_dtype}: {'; '.join(errors)}. Only continuous tokenizers (CV, CI) "
            "are supported, and most run in bf16 alone"
        )
