"""FLUX.1 of NVIDIA's MLPerf training (v5.1, ``FluxTaskEncoder``)."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from energon_prep.samples import EncodedSample, TextEmbedding, sample_metadata
from energon_prep.targets.base import ContractError
from energon_prep.targets.checks import (
    require_keys,
    require_latent,
    require_parts,
    require_pooled,
    require_text,
    require_vector,
)
from energon_prep.targets.flux import CHANNELS, MAX_TOKENS, POOLED_WIDTH, TEXT_WIDTH, image_latent
from energon_prep.targets.serialize import dumps_npy_of_one

NUM_TIMESTEPS = 8  #: of its validation: t = 0/8, 1/8, ..., 7/8


class MLPerfFlux:
    """bfloat16 tensors as npy files of uint16: ``mean.bytes`` and ``logvar.bytes`` [16, H, W] (the
    VAE's own, not normalised: the training draws and normalises), ``t5.bytes`` [S, 4096],
    ``clip.bytes`` [768].

    ``json`` has ``key``, and ``timestep`` from 0 to 7, which the validation reads of every sample
    and the training of none: the source's own, else the eight in turn, as MLPerf's reference gives
    them to its validation set. The model is built with ``empty_encodings``, for caption dropout.
    """

    part_names: tuple[str, ...] = ("json", "clip.bytes", "logvar.bytes", "mean.bytes", "t5.bytes")
    text_names: tuple[str, ...] | None = ("t5", "clip")
    caption_files: Mapping[str, Callable[[Any], bytes]] = {
        # float32 [1, S, 4096]
        "empty_encodings/t5_empty.npy": lambda text: _caption_file(text, "t5"),
        # float32 [1, 768]
        "empty_encodings/clip_empty.npy": lambda text: _caption_file(text, "clip"),
    }

    def build(self, sample: EncodedSample) -> dict[str, Any]:
        moments = image_latent(sample.latent)
        if len(moments) != 2 * CHANNELS:
            raise ContractError(
                f"the latent has {len(moments)} channels, mean and log-variance have "
                f"{2 * CHANNELS}: set visual.posterior=moments"
            )
        text = self.build_text(sample.texts)
        return {
            "json": {**sample_metadata(sample), "timestep": _timestep(sample)},
            "clip.bytes": text["clip"],
            "logvar.bytes": dumps_bf16(moments[CHANNELS:]),
            "mean.bytes": dumps_bf16(moments[:CHANNELS]),
            "t5.bytes": text["t5"],
        }

    def build_text(self, texts: Mapping[str, TextEmbedding]) -> dict[str, bytes]:
        return {
            "clip": dumps_bf16(require_pooled(texts, "clip")),
            "t5": dumps_bf16(texts["t5"].tokens),
        }

    def check(self, parts: Mapping[str, Any]) -> None:
        require_parts(parts, self.part_names)
        require_keys("json", parts["json"], ("key", "timestep"))
        _require_timestep(parts["json"]["timestep"])
        require_vector(
            "clip.bytes", loads_bf16("clip.bytes", parts["clip.bytes"]), width=POOLED_WIDTH
        )
        t5 = loads_bf16("t5.bytes", parts["t5.bytes"])
        require_text("t5.bytes", t5, max_tokens=MAX_TOKENS, width=TEXT_WIDTH)
        shapes = set()
        for part in ("mean.bytes", "logvar.bytes"):
            moments = loads_bf16(part, parts[part])
            require_latent(part, moments, ndim=3, patch=2, channels=CHANNELS)
            shapes.add(moments.shape)
        if len(shapes) > 1:
            raise ContractError("mean.bytes and logvar.bytes have different shapes")

    def subflavors(self) -> dict[str, Any]:
        return {"target": "mlperf-flux", "encoding": "preencoded_numpy"}


def _caption_file(text: Any, name: str) -> bytes:
    require_keys("the empty caption", text, (name,))
    return dumps_npy_of_one(loads_bf16(name, text[name]))


def _timestep(sample: EncodedSample) -> int:
    """The source's own, a number or digits as tables have them; without one, by the sample's place
    in the dataset.
    """
    given = sample.info.metadata.get("timestep")
    if given is None:
        return sample.info.serial % NUM_TIMESTEPS
    if isinstance(given, str) and given.strip().isdecimal():
        given = int(given)
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    return _require_timestep(given)


def _require_timestep(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < NUM_TIMESTEPS:
        raise ContractError(
            f"timestep is {value!r}, not a whole number from 0 to {NUM_TIMESTEPS - 1}"
        )
    return value


def dumps_bf16(tensor: torch.Tensor) -> bytes:
    """An npy file of uint16 whose bits are the tensor's in bfloat16."""
    buffer = io.BytesIO()
    bits = tensor.detach().to("cpu", torch.bfloat16).contiguous().view(torch.uint16)
    np.save(buffer, bits.numpy(), allow_pickle=False)
    return buffer.getvalue()


def loads_bf16(part: str, data: Any) -> torch.Tensor:
    """The tensor of such a file. Raises ContractError for anything else."""
    if not isinstance(data, bytes):
        raise ContractError(f"{part} is a {type(data).__name__}, not the bytes of an npy file")
    try:
        bits = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError, TypeError) as error:
        raise ContractError(f"{part} is no npy file ({error})") from error
    if not isinstance(bits, np.ndarray) or bits.dtype != np.uint16:
        raise ContractError(
            f"{part} is {getattr(bits, 'dtype', 'an archive')}, not uint16 (the bits of bfloat16)"
        )
    return torch.from_numpy(bits.copy()).view(torch.bfloat16)
