"""Which encoders of a dataset had weights that nobody trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MADE_UP = ("tiny", "random")


def made_up_weights(encoders: Mapping[str, Any]) -> str:
    """A sentence about ``encoders`` as run.json describes them; "" if all of them were trained."""
    found = list(_found(encoders))
    if not found:
        return ""
    which = ", ".join(f"{name}: {size}" for name, size in found)
    return f"encoded with made-up weights ({which}): for trying things out, not for training"


def _found(encoders: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    texts = encoders.get("text", ())
    described = [encoders.get("visual"), *(texts if isinstance(texts, list) else ())]
    for number, about in enumerate(described):
        # those of trained ones have a model of any name, and no architecture
        if isinstance(about, dict) and about.get("model") in MADE_UP and "architecture" in about:
            yield "visual" if number == 0 else f"text {about.get('name')}", about["model"]
