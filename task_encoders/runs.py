"""The datasets that Energon puts together, and what each was encoded with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from megatron.energon.epathlib import EPath

#: Where ``energon-prep encode`` says what a dataset was made with, below the dataset's folder.
RUN = ".energon-prep/run.json"


def dataset_paths(dataset: Any, *, joined: bool = True) -> Iterator[Any]:
    """The folders of a dataset as Energon hands it over; with ``joined`` also of those that it
    joins.
    """
    if isinstance(dataset, tuple):  # with its weight, in Energon 5 and 6
        dataset = dataset[0]
    if getattr(dataset, "path", None) is not None:
        yield dataset.path
    if getattr(dataset, "dataset", None) is not None:
        yield from dataset_paths(dataset.dataset, joined=joined)
    for inner in (getattr(dataset, "inner_datasets", ()) or ()) if joined else ():
        yield from dataset_paths(inner)


def encoders_of(path: Any) -> list[dict[str, Any]]:
    """The visual encoder of the dataset in that folder and then its text encoders; none of a
    dataset that tells nothing, as those of others do.
    """
    try:
        with (EPath(path) / RUN).open("rb") as file:
            encoders = json.loads(file.read())["encoders"]
        described = [encoders["visual"], *encoders["text"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return described if all(isinstance(about, dict) for about in described) else []
