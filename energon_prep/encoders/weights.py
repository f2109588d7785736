"""Station 3, encoders: from a recipe and ``--weights`` to loaded encoders; the one place that knows both."""

from __future__ import annotations

import contextlib
import logging
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from safetensors import SafetensorError

from energon_prep.encoders.base import TextEncoder, VisualEncoder
from energon_prep.encoders.catalog import Size, is_id_or_folder, lookup
from energon_prep.encoders.checkpoint import Checkpoint, EncoderSource, open_checkpoint, text_subfolders, unusable
from energon_prep.encoders.dtypes import TORCH_DTYPES
from energon_prep.encoders.quiet import quiet_libraries
from energon_prep.encoders.tiny import build_pipeline
from energon_prep.errors import PrepError
from energon_prep.recipes.model import Recipe, Text, Visual

logger = logging.getLogger(__name__)

# What loading raises for files that are missing, cut, of another architecture, or pickles with code in them.
_LOAD_ERRORS = (OSError, ValueError, RuntimeError, KeyError, TypeError, pickle.UnpicklingError, SafetensorError)

_SIZES: dict[str, Size] = {"tiny": "tiny", "random": "random"}


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where a recipe's encoders come from."""

    visual: EncoderSource
    texts: tuple[EncoderSource, ...]  #: in the recipe's order


def resolve(recipe: Recipe, *, weights: str | None) -> Sources:
    """Say where each encoder of ``recipe`` is to be looked for; tiny and random weights are built if need be.

    ``weights``: None for each encoder's own ``model`` (alias, hub id, folder of a model or of a pipeline); "tiny" or
    "random"; or the folder or hub id of a pipeline (vae/, text_encoder/, tokenizer/, text_encoder_2/ ...) that has
    them all. Raises PrepError for a name that is none of these.
    """
    if weights is None:
        texts = tuple(_own_source("text", spec) for spec in recipe.text)
        return Sources(visual=_own_source("visual", recipe.visual), texts=texts)
    built = _SIZES.get(weights)
    if built is None and not is_id_or_folder(weights):
        raise PrepError(
            f"--weights '{weights}' is neither a pipeline's folder or hub id (owner/name) nor tiny or random; "
            "a single model is named with --model or --vae"
        )
    location = str(build_pipeline(recipe, built)) if built else weights
    return Sources(
        visual=EncoderSource(kind="visual", location=location, subfolders=("vae",), built=built),
        texts=tuple(
            EncoderSource(kind="text", location=location, subfolders=(subfolder,), built=built)
            for subfolder in text_subfolders([spec.subfolder for spec in recipe.text])
        ),
    )


def load_visual(recipe: Recipe, *, weights: str | None, device: torch.device | str) -> VisualEncoder:
    """Load the visual encoder, frozen, on ``device``. Raises PrepError if it cannot be had or does not work."""
    spec = recipe.visual
    checkpoint = open_checkpoint(resolve(recipe, weights=weights).visual)
    device, dtype = torch.device(device), TORCH_DTYPES[spec.dtype]
    with _loading(checkpoint.source):
        if checkpoint.jit is not None:
            from energon_prep.encoders.cosmos_jit import CosmosJitEncoder

            # Straight to the device: traced modules may name theirs.
            module: Any = torch.jit.load(str(checkpoint.jit.path), map_location=device)  # type: ignore[no-untyped-call]
            module = module.eval().to(dtype=dtype)
            return CosmosJitEncoder(module=module, dtype=dtype, device=device, about=checkpoint.describe())
        from diffusers import AutoencoderKL

        from energon_prep.encoders.visual import AutoencoderKLEncoder

        return AutoencoderKLEncoder(
            model=_on_device(_pretrained(AutoencoderKL, checkpoint, torch_dtype=dtype), device),
            dtype=dtype,
            device=device,
            posterior=spec.posterior,
            normalize=spec.normalize == "checkpoint",
            about=checkpoint.describe(),
        )


def load_texts(recipe: Recipe, *, weights: str | None, device: torch.device | str) -> list[TextEncoder]:
    """Load the text encoders in the recipe's order, frozen, on ``device``. Raises PrepError as ``load_visual`` does."""
    sources = resolve(recipe, weights=weights).texts
    return [
        _load_text(spec, open_checkpoint(source), torch.device(device))
        for spec, source in zip(recipe.text, sources, strict=True)
    ]


def _own_source(kind: Literal["visual", "text"], spec: Visual | Text) -> EncoderSource:
    """Where the recipe's own ``model`` is: at the root of its repository or folder, or in a pipeline's subfolder."""
    info = lookup(spec.model)
    if info is None:
        usual = "vae" if kind == "visual" else "text_encoder"
        subfolders = (spec.subfolder, "") if spec.subfolder else ("", usual)
        return EncoderSource(kind=kind, location=spec.model, subfolders=subfolders, revision=spec.revision)
    return EncoderSource(kind=kind, location=info.hf_id, subfolders=(info.subfolder,), revision=spec.revision)


def _load_text(spec: Text, checkpoint: Checkpoint, device: torch.device) -> TextEncoder:
    import transformers

    from energon_prep.encoders.text import TransformersTextEncoder, check_working

    dtype = TORCH_DTYPES[spec.dtype]
    if dtype is torch.float16 and checkpoint.family in ("t5", "umt5"):
        raise PrepError(f"text encoder {spec.name}: T5 and UMT5 overflow in fp16 (NaN or zeros): use bf16 or fp32")
    classes = {"t5": transformers.T5EncoderModel, "umt5": transformers.UMT5EncoderModel}
    with _loading(checkpoint.source):
        model_class = classes.get(checkpoint.family, transformers.CLIPTextModel)
        model = _on_device(_pretrained(model_class, checkpoint, **{_dtype_argument(): dtype}), device)
        location, place = checkpoint.pretrained(checkpoint.tokenizer or checkpoint.main)
        # With the model's config, which is not looked for in the tokenizer's own subfolder of a repository then.
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            location, config=model.config, trust_remote_code=False, **place
        )
    _check_fit(spec, checkpoint, model, tokenizer)
    encoder = TransformersTextEncoder(
        name=spec.name,
        model=model,
        tokenizer=tokenizer,
        family=checkpoint.family,
        max_tokens=spec.max_tokens,
        keep_padding=spec.padding == "max_length",
        attention_mask=spec.attention_mask,
        dtype=dtype,
        device=device,
        about=checkpoint.describe(),
    )
    check_working(encoder)
    return encoder


def _check_fit(spec: Text, checkpoint: Checkpoint, model: Any, tokenizer: Any) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise unusable(checkpoint.source, f"its tokenizer has {len(tokenizer)} tokens, the model only {rows}")
    positions: int | None = (
        getattr(model.config, "max_position_embeddings", None) if checkpoint.family == "clip" else None
    )
    if positions is not None and spec.max_tokens > positions:
        raise PrepError(
            f"text encoder {spec.name}: max_tokens is {spec.max_tokens}, and CLIP has {positions} positions"
        )


def _pretrained(model_class: Any, checkpoint: Checkpoint, **kwargs: Any) -> Any:
    """``from_pretrained``, frozen; a checkpoint that leaves weights at random values is refused.

    safetensors are preferred, and pickles are read with ``weights_only``: both are the libraries' own defaults.
    """
    location, place = checkpoint.pretrained(checkpoint.main)
    model, report = model_class.from_pretrained(location, output_loading_info=True, **place, **kwargs)
    missing = sorted(report["missing_keys"])
    if missing:
        raise unusable(checkpoint.source, f"its weights lack {len(missing)} tensors of the model: {missing[0]} ...")
    return model.eval().requires_grad_(False)


def _on_device(model: Any, device: torch.device) -> Any:
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:  # out of memory, or a torch without that device
        raise PrepError(f"cannot put the {type(model).__name__} on {device}: {error}; try --device cpu") from error


def _dtype_argument() -> str:
    """transformers renamed it in 4.56."""
    import transformers

    major, minor = (int(part) for part in transformers.__version__.split(".")[:2])
    return "dtype" if (major, minor) >= (4, 56) else "torch_dtype"


@contextlib.contextmanager
def _loading(source: EncoderSource) -> Iterator[None]:
    """Quiet libraries, and PrepError for weights that do not load."""
    logger.info("loading the %s encoder %s", source.kind, source.built or source.location)
    try:
        with quiet_libraries():
            yield
    except _LOAD_ERRORS as error:
        problem = " ".join(str(error).split())[:400] or type(error).__name__
        raise unusable(source, f"loading it failed: {problem}") from error
