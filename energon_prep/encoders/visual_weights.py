"""Loads the visual encoder of a recipe from the files that were found for it."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

from energon_prep.encoders.base import VisualEncoder
from energon_prep.encoders.checkpoint import Checkpoint
from energon_prep.encoders.compiling import Probe, compile_model
from energon_prep.encoders.cosmos_jit import CosmosJitEncoder
from energon_prep.encoders.dtypes import TORCH_DTYPES, compute_dtype
from energon_prep.encoders.pretrained import loading, on_device, pretrained
from energon_prep.encoders.quiet import quiet_diffusers
from energon_prep.encoders.visual import DiffusersEncoder
from energon_prep.encoders.visual_classes import JIT_COMPUTE_DTYPE, VISUAL_CLASSES, VisualClass
from energon_prep.errors import PrepError
from energon_prep.recipes.model import Visual

logger = logging.getLogger(__name__)


def load_visual_encoder(
    spec: Visual,
    checkpoint: Checkpoint,
    device: torch.device,
    *,
    typical: tuple[int, int, int] = (1, 256, 256),
) -> VisualEncoder:
    """Load ``checkpoint``, frozen, on ``device``. Raises PrepError if it does not load or suit
    ``spec``.

    ``typical``: frames, height and width of what it will encode, which it is compiled for if
    ``spec`` says so.
    """
    if checkpoint.jit is not None:
        return _load_jit(spec, checkpoint, device)
    name = checkpoint.family
    kind = VISUAL_CLASSES[name]
    _check_options(spec, name, gaussian=kind.gaussian, tiles=kind.tiles)
    computed = compute_dtype(spec.compute_dtype or kind.compute_dtype, device)
    with loading(checkpoint.source), quiet_diffusers():
        model = pretrained(
            _class(name), checkpoint, torch_dtype=_model_dtype(name, kind, computed, device)
        )
        model.decoder = nn.Identity()  # never used: its memory is the batches'
        model = on_device(model, device)
    channels_last = kind.channels_last == "everywhere" or (
        kind.channels_last == "cpu" and device.type == "cpu"
    )
    if channels_last:
        _put_channels_last(model)
    if kind.exact_pixels:
        _round_output(model.encoder.get_submodule(kind.exact_pixels), model.dtype)
    if not kind.batches:
        model.enable_slicing()
    encoder = DiffusersEncoder(
        model=model,
        kind=kind,
        dtype=TORCH_DTYPES[spec.dtype],
        device=device,
        posterior=spec.posterior,
        normalize=spec.normalize == "checkpoint",
        tiling=spec.tiling if kind.tiles else "never",
        tile_pixels=spec.tile_pixels,
        channels_last=channels_last,
        about={**checkpoint.describe(), "compile": spec.compile},
    )
    if spec.compile:
        compile_model(
            model.encoder,
            _probes(encoder, *typical),
            what=f"visual encoder '{spec.model}'",
            field="visual.compile",
        )
    return encoder


def _load_jit(spec: Visual, checkpoint: Checkpoint, device: torch.device) -> VisualEncoder:
    _check_options(spec, "the Cosmos tokenizer", gaussian=False, tiles=False)
    if spec.compile:
        raise PrepError(
            f"visual encoder '{spec.model}' is TorchScript, which torch.compile does not take: "
            "use --set visual.compile=false"
        )
    assert checkpoint.jit is not None
    path, computed = (
        checkpoint.jit.path,
        compute_dtype(spec.compute_dtype or JIT_COMPUTE_DTYPE, device),
    )

    def load(device: torch.device) -> Any:
        with loading(checkpoint.source):
            # Straight to the device: a traced module's constants cannot be moved.
            module: Any = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
            return module.eval().to(dtype=computed)

    return CosmosJitEncoder(
        load=load,
        dtype=TORCH_DTYPES[spec.dtype],
        compute_dtype=computed,
        device=device,
        about=checkpoint.describe(),
    )


def _check_options(spec: Visual, name: str, *, gaussian: bool, tiles: bool) -> None:
    if spec.posterior != "mean" and not gaussian:
        raise PrepError(
            f"visual encoder '{spec.model}': {name} is no variational autoencoder, so there "
            f"is no {spec.posterior} of its posterior: use --set visual.posterior=mean"
        )
    if spec.tiling == "always" and not tiles:
        raise PrepError(
            f"visual encoder '{spec.model}': {name} does not encode in tiles: use --set "
            "visual.tiling=never"
        )


def _probes(encoder: VisualEncoder, frames: int, height: int, width: int) -> list[Probe]:
    """Batches and single samples, clips and images: what a compiler tells apart. Never square,
    which it might too.

    Clips are short, but long enough for all that is done at their start, in their middle and at
    their end.
    """
    spatial, temporal = encoder.spatial_factor, encoder.temporal_factor or 1
    rows, columns = max(height // spatial, 2), max(width // spatial, 2)
    longest = (
        1 if encoder.temporal_factor is None else 1 + min((frames - 1) // temporal, 2) * temporal
    )
    shape = (rows * spatial, (columns + (rows == columns)) * spatial, 3)
    generator = torch.Generator().manual_seed(0)

    def probe(num: int, length: int) -> Probe:
        noise = torch.randint(0, 256, (num, length, *shape), generator=generator, dtype=torch.uint8)
        return lambda: [encoder.launch(noise, range(num))()]

    return [probe(num, length) for length in sorted({longest, 1}, reverse=True) for num in (2, 1)]


def _class(name: str) -> Any:
    import diffusers

    found = getattr(diffusers, name, None)
    if found is None:
        raise PrepError(
            f"diffusers {diffusers.__version__} has no {name}: pip install -U diffusers"
        )
    return found


def _model_dtype(
    name: str, kind: VisualClass, dtype: torch.dtype, device: torch.device
) -> torch.dtype:
    if device.type == "cpu" and dtype is not torch.float32 and not kind.half_on_cpu:
        logger.warning("torch lacks what %s needs in %s on CPUs: it runs in fp32", name, dtype)
        return torch.float32
    return dtype


def _round_output(module: nn.Module, dtype: torch.dtype) -> None:
    """Let ``module`` take fp32 in a model of another ``dtype``."""
    module.register_forward_hook(lambda _module, _inputs, output: output.to(dtype))


def _put_channels_last(model: Any) -> None:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in model.parameters():
        if parameter.ndim in formats:
            parameter.data = parameter.data.to(memory_format=formats[parameter.ndim])
