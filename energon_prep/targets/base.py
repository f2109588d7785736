"""What a trainer's contract can do. One check serves the writer and ``verify``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from energon_prep.samples import EncodedSample, TextEmbedding


class ContractError(ValueError):
    """A sample's parts do not meet the trainer's contract; the message names part, value and
    rule.
    """


class Contract(Protocol):
    """What a class must have to be a target; of the rest of ``Target`` what it has besides is
    used.
    """

    part_names: tuple[str, ...]  #: in the order in which they are written

    def build(self, sample: EncodedSample) -> dict[str, Any]:
        """Lay a sample out: part name -> tensor, array, dict or JSON-able. Not serialised or
        checked.
        """
        ...

    def check(self, parts: Mapping[str, Any]) -> None:
        """Raise ContractError unless the decoded ``parts`` are what the trainer reads."""
        ...


@dataclass(frozen=True, kw_only=True)
class Target:
    """The contract of one trainer: part names, shapes, dtypes, pickle type, JSON keys."""

    name: str  #: of the recipe
    part_names: tuple[str, ...]
    build: Callable[[EncodedSample], dict[str, Any]]
    check: Callable[[Mapping[str, Any]], None]
    #: The text part alone; of the empty caption it is stored once, for classifier-free guidance
    #: dropout.
    build_text: Callable[[Mapping[str, TextEmbedding]], Any]
    #: what the recipe's text encoders must be called; None: anything
    text_names: tuple[str, ...] | None
    several_sizes: bool  #: stores latents of more than one resolution
    #: What the trainer reads beside the tars, by its name in the dataset: made of what
    #: ``build_text`` gives of the empty caption.
    caption_files: Mapping[str, Callable[[Any], bytes]]
    subflavors: Callable[[], dict[str, Any]]  #: of dataset.yaml, for cookers to select by
    about: dict[str, Any] = field(default_factory=dict)  #: of a user's class: where it came from


def as_target(name: str, contract: Contract, about: dict[str, Any] | None = None) -> Target:
    """``contract`` with the usual in the place of what it does not have."""
    return Target(
        name=name,
        part_names=tuple(contract.part_names),
        build=contract.build,
        check=contract.check,
        build_text=getattr(contract, "build_text", embeddings),
        text_names=getattr(contract, "text_names", None),
        several_sizes=getattr(contract, "several_sizes", False),
        caption_files=getattr(contract, "caption_files", {}),
        subflavors=getattr(contract, "subflavors", lambda: {"target": name}),
        about=about or {},
    )


def embeddings(texts: Mapping[str, TextEmbedding]) -> dict[str, dict[str, torch.Tensor]]:
    """Text encoder -> {"hidden": [S, D], "pooled": [D']}, what it does not give left out."""
    given = {name: {"hidden": text.hidden, "pooled": text.pooled} for name, text in texts.items()}
    return {
        name: {kind: tensor for kind, tensor in kinds.items() if tensor is not None}
        for name, kinds in given.items()
    }
