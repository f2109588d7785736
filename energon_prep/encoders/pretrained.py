"""Loads weights into a model, frozen, and says what can be done where they do not load."""

from __future__ import annotations

import contextlib
import logging
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from energon_prep.encoders.checkpoint import Checkpoint, EncoderSource, unusable
from energon_prep.encoders.quiet import quiet_libraries
from energon_prep.errors import PrepError

logger = logging.getLogger(__name__)

# What loading raises for files that are missing, cut, of another architecture, or pickles with code
# in them.
_LOAD_ERRORS = (
    OSError,
    ValueError,
    RuntimeError,
    KeyError,
    TypeError,
    pickle.UnpicklingError,
    SafetensorError,
)

#: Weight files; those of a variant are copies of lower precision, beside the others or in their
#: place.
_WEIGHTS = re.compile(
    r"(?:diffusion_|)(?:pytorch_|)model(?:\.(fp16|bf16))?(?:-\d+-of-\d+)?\.(?:safetensors|bin)"
)


def pretrained(model_class: Any, checkpoint: Checkpoint, **kwargs: Any) -> Any:
    """``from_pretrained``, frozen; a checkpoint that leaves weights at random values is refused.

    safetensors are preferred, and pickles are read with ``weights_only``: both are the libraries'
    own defaults.
    """
    location, place = checkpoint.pretrained(checkpoint.main)
    if checkpoint.main.commit is None:
        kwargs |= _variant(checkpoint.main.path.parent)
    model, report = model_class.from_pretrained(
        location, output_loading_info=True, **place, **kwargs
    )
    missing = sorted(report["missing_keys"])
    if missing:
        raise unusable(
            checkpoint.source,
            f"its weights lack {len(missing)} tensors of the model: {missing[0]} ...",
        )
    return model.eval().requires_grad_(False)


def _variant(folder: Path) -> dict[str, str]:
    """What names the weights in ``folder`` to ``from_pretrained``, where there are only those of a
    variant.
    """
    found = {match[1] for path in folder.iterdir() if (match := _WEIGHTS.fullmatch(path.name))}
    return {} if None in found or not found else {"variant": min(found)}  # bf16 before fp16


def on_device(model: Any, device: torch.device) -> Any:
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:  # out of memory, or a torch without that device
        raise PrepError(
            f"cannot put the {type(model).__name__} on {device}: {error}; try --device cpu"
        ) from error


@contextlib.contextmanager
def loading(source: EncoderSource) -> Iterator[None]:
    """Quiet libraries, and PrepError for weights that do not load, or that need a library which is
    not installed.
    """
    logger.info("loading the %s encoder %s", source.kind, source.built or source.location)
    try:
        with quiet_libraries():
            yield
    except ImportError as error:
        raise PrepError(
            f"{source.kind} encoder '{source.location}' needs what is not installed: {error}"
        ) from error
    except _LOAD_ERRORS as error:
        problem = " ".join(str(error).split())[:400] or type(error).__name__
        raise unusable(source, f"loading it failed: {problem}") from error
