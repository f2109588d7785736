"""Targets: tensors -> parts, one module per trainer contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from energon_prep.errors import UsageError
from energon_prep.plugins import is_plugin, make, names_of
from energon_prep.targets.base import Contract, ContractError, Target, as_target
from energon_prep.targets.dit import DiT
from energon_prep.targets.flux import Flux
from energon_prep.targets.generic import Generic
from energon_prep.targets.mlperf_flux import MLPerfFlux
from energon_prep.targets.nemo_dit import NeMoDiT
from energon_prep.targets.primus_flux import PrimusFlux
from energon_prep.targets.wan import Wan

__all__ = ["TARGETS", "Contract", "ContractError", "Target", "get_target", "require_fit"]

TARGETS: dict[str, Callable[[], Contract]] = {
    "dit": DiT,
    "nemo-dit": NeMoDiT,
    "wan": Wan,
    "flux": Flux,
    "primus-flux": PrimusFlux,
    "mlperf-flux": MLPerfFlux,
    "generic": Generic,
}


def get_target(name: str) -> Target:
    """The target of that name, ours or a class of the user's. Raises PrepError naming those there
    are.
    """
    if name in TARGETS:
        return as_target(name, TARGETS[name]())
    if not is_plugin("target", name):
        known = ", ".join([*TARGETS, *names_of("target")])
        raise UsageError(
            f"there is no target {name!r}: the targets are {known}; one of your own is "
            "package.module:Class (docs/extending.md)"
        )
    plugin = make("target", name, members=("part_names", "build", "check"))
    return as_target(name, plugin.made, plugin.about)


def require_fit(target: Target, *, text_names: Sequence[str], num_sizes: int) -> None:
    """Raise PrepError if a recipe with these text encoders and so many resolutions cannot end in
    the target.
    """
    if target.text_names is not None and sorted(text_names) != sorted(target.text_names):
        raise UsageError(
            f"target {target.name} stores the embeddings of text encoders named "
            f"{', '.join(target.text_names)}; the recipe has {', '.join(text_names)}"
        )
    if num_sizes > 1 and not target.several_sizes:
        raise UsageError(
            f"target {target.name} stores latents of one resolution, the recipe has {num_sizes}: "
            "leave out more_resolutions, or use target generic"
        )
