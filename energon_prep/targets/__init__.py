"""Targets: tensors -> parts, one module per trainer contract."""

from __future__ import annotations

from collections.abc import Callable

from energon_prep.errors import PrepError
from energon_prep.targets.base import ContractError, Target
from energon_prep.targets.dit import DiT
from energon_prep.targets.nemo_dit import NeMoDiT

__all__ = ["TARGETS", "ContractError", "Target", "get_target"]

TARGETS: dict[str, Callable[[], Target]] = {"dit": DiT, "nemo-dit": NeMoDiT}


def get_target(name: str) -> Target:
    """The target of that name. Raises PrepError naming those there are."""
    if name not in TARGETS:
        raise PrepError(f"there is no target {name!r}: the targets are {', '.join(TARGETS)}")
    return TARGETS[name]()
