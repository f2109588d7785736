"""Which cookers a trainer's task encoder has, by the ``target`` in dataset.yaml's subflavors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from megatron.energon import Cooker
from megatron.energon.errors import FatalSampleError

from cookers.cook import Layout, latent_cooker, make_cooker
from cookers.flux import mlperf_cookers, primus_cookers

#: A dataset that names a target is held to its contract: nothing is taken that the trainer itself
#: would misread.
CONTRACTS = {
    "wan": Layout(latent_ndims=(4,), batched_text=False, trim=False),
    "flux": Layout(latent_ndims=(3,), batched_text=False, trim=False),
    "dit": Layout(latent_ndims=(4, 5), batched_text=True, trim=False),
    "nemo-dit": Layout(latent_ndims=(4,), batched_text=False, trim=False),
    "generic": Layout(latent_ndims=(4,), batched_text=False, trim=False),
}


@dataclass
class ForeignCooker(Cooker):  # type: ignore[misc]
    """The last in a list: for datasets that name no target, and the refusal of those that name
    another one.
    """

    reads: tuple[str, ...] = ()

    def is_match(self, subflavors: dict[str, Any]) -> bool:
        """Raise FatalSampleError for a target that is not read here.

        Energon 7 calls this with the subflavors, before the first sample; 5 and 6 with each sample.
        """
        target = (subflavors.get("__subflavors__", subflavors) or {}).get("target")
        if target is None:
            return True
        raise FatalSampleError(
            f"the dataset says target: {target!r} in the subflavors of its dataset.yaml, and "
            f"this task encoder reads {', '.join(self.reads)}; take the task encoder of that "
            "target, or pass cookers of your own"
        )


def trainer_cookers(target: str) -> list[Cooker]:
    """For datasets of that target, generic ones, and those that name none, which are read as
    ``Layout`` says.
    """
    cookers = [
        make_cooker(CONTRACTS[name], {"target": name})
        for name in dict.fromkeys((target, "generic"))
    ]
    reads = [target, "generic"]
    if target == "flux":
        cookers += [*primus_cookers(), *mlperf_cookers()]
        reads += ["primus-flux", "mlperf-flux"]
    return [*cookers, ForeignCooker(latent_cooker.cook, reads=tuple(reads))]


def all_cookers() -> list[Cooker]:
    """For datasets of any target, and for those that name none."""
    return [*primus_cookers(), *mlperf_cookers(), latent_cooker]
