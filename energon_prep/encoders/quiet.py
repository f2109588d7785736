"""Station 3, encoders: keeps transformers and diffusers from printing bars and reports of what is intended."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from transformers.utils import logging


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Only errors of transformers are shown, and no progress bars of its own (downloads keep theirs)."""
    # Otherwise transformers asks a service on the network to convert repositories that have no safetensors.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    hub_bars = not are_progress_bars_disabled()
    logging.disable_progress_bar()  # the hub's too
    if hub_bars:
        enable_progress_bars()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
        if not hub_bars:
            disable_progress_bars()
