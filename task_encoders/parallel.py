"""Over how many devices a sequence is spread, as megatron-core knows it."""

from __future__ import annotations

import importlib
from typing import Any


def context_parallel_size() -> int:
    """Of this run; 1 where megatron-core is not there or not initialised. Ask when the first sample
    comes, not before: training scripts make their task encoders before they initialise
    megatron-core.
    """
    state = _parallel_state()
    return int(state.get_context_parallel_world_size()) if state else 1


def tensor_parallel_size() -> int:
    """As above."""
    state = _parallel_state()
    return int(state.get_tensor_model_parallel_world_size()) if state else 1


def length_multiple(size: int | None) -> int:
    """What lengths are padded to multiples of: 2 c for a context parallel size c above 1, as
    Transformer Engine asks, else 1. A ``size`` of None is megatron-core's.
    """
    size = size or context_parallel_size()
    return 2 * size if size > 1 else 1


def _parallel_state() -> Any:
    try:
        state = importlib.import_module("megatron.core.parallel_state")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("megatron"):
            raise  # megatron-core is there, and lacks something
        return None
    return state if state.model_parallel_is_initialized() else None
