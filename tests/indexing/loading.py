"""The least that Energon needs to load a dataset."""

from __future__ import annotations

from typing import Any

from megatron.energon import (
    Cooker,
    DefaultTaskEncoder,
    Sample,
    basic_sample_keys,
    edataclass,
    stateless,
)


@edataclass
class Cooked(Sample):  # type: ignore[misc]
    pass


@stateless
def cook(sample: dict[str, Any]) -> Cooked:
    return Cooked(**basic_sample_keys(sample))


class Encoder(DefaultTaskEncoder):  # type: ignore[misc]
    decoder = None
    cookers = [Cooker(cook, has_subflavors={"target": "dit"})]
