"""What is known of a published model before any file of it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from energon_prep.encoders.visual_classes import VisualFamily

TextFamily = Literal["t5", "umt5", "clip", "llama", "gemma2", "qwen2.5-vl"]
Family = VisualFamily | TextFamily
Size = Literal["tiny", "random"]

VISUAL_FAMILIES: tuple[Family, ...] = get_args(VisualFamily)
TEXT_FAMILIES: tuple[Family, ...] = get_args(TextFamily)


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A published model with a short name. ``tiny`` and ``published`` are arguments of its
    configuration class.
    """

    alias: str
    hf_id: str  #: owner/name on the Hugging Face hub
    family: Family
    subfolder: str = ""  #: of the repository; "" is its root
    #: small, but with the dimensions that targets check: width, channels, factors
    tiny: Mapping[str, Any]
    published: Mapping[str, Any]  #: as released; a text encoder's ``vocab_size`` is among them
    #: of a text encoder's tokenizer, where it is another than its family's
    pad_token: str | None = None

    def architecture(self, size: Size) -> dict[str, Any]:
        return dict(self.tiny if size == "tiny" else self.published)
