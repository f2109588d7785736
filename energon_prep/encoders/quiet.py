"""Keeps transformers and diffusers from printing bars and reports of what is intended."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from huggingface_hub.utils.tqdm import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)
from transformers.utils import logging

_CONVERSION = "DISABLE_SAFETENSORS_CONVERSION"


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Only errors of transformers are shown, and no progress bars of its own (downloads keep
    theirs).
    """
    # Otherwise transformers asks a service on the network to convert repositories that have no
    # safetensors.
    conversion = os.environ.get(_CONVERSION)
    os.environ.setdefault(_CONVERSION, "1")
    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    hub_bars = not are_progress_bars_disabled()
    logging.disable_progress_bar()  # the hub's too
    if hub_bars:
        enable_progress_bars()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        if conversion is None:
            os.environ.pop(_CONVERSION, None)
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
        if not hub_bars:
            disable_progress_bars()


@contextlib.contextmanager
def quiet_diffusers() -> Iterator[None]:
    """Only errors of diffusers are shown: it would have accelerate installed, and reports what old
    files do not say.
    """
    from diffusers.utils import logging as diffusers_logging

    verbosity = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(verbosity)
