"""What a trainer's contract can do. One check serves the writer and ``verify``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from energon_prep.samples import EncodedSample, TextEmbedding


class ContractError(ValueError):
    """A sample's parts do not meet the trainer's contract; the message names the part, its value and the rule."""


class Target(Protocol):
    """The contract of one trainer: part names, shapes, dtypes, pickle type, JSON keys."""

    name: str
    part_names: tuple[str, ...]  #: in the order in which they are written
    text_names: tuple[str, ...] | None  #: what the recipe's text encoders must be called; None: anything
    several_sizes: bool  #: stores latents of more than one resolution
    #: What the trainer reads beside the tars, by its name in the dataset: made of what ``build_text`` gives of the
    #: empty caption.
    caption_files: Mapping[str, Callable[[Any], bytes]]

    def build(self, sample: EncodedSample) -> dict[str, Any]:
        """Lay a sample out: part name -> tensor, array, dict or JSON-able. Not serialised, not checked."""
        ...

    def build_text(self, texts: Mapping[str, TextEmbedding]) -> Any:
        """The text part alone; of the empty caption it is stored once, for classifier-free guidance dropout."""
        ...

    def check(self, parts: Mapping[str, Any]) -> None:
        """Raise ContractError unless the decoded ``parts`` are what the trainer reads."""
        ...

    def subflavors(self) -> dict[str, Any]:
        """What dataset.yaml says about every sample, for cookers to select by."""
        ...
