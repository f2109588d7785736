"""The datasets that Energon puts together, and what each was encoded with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from megatron.energon.epathlib import EPath

#: Where ``energon-prep encode`` says what a dataset was made with, below the dataset's folder.
RUN = ".energon-prep/run.json"


#: The visual encoder of a dataset and then its text encoders, by its folder; none of one that tells
#: nothing, as those of others do.
Encoders = dict[str, list[dict[str, Any]]]


def factory_of(item: Any) -> Any:
    """The dataset of an item as Energon hands it over: a tuple with its weight in 5 and 6, an
    object with it in 7.
    """
    return item[0] if isinstance(item, tuple) else getattr(item, "dataset", item)


def dataset_paths(item: Any, *, joined: bool = True) -> Iterator[Any]:
    """The folders of such an item; with ``joined`` also of those that it joins."""
    factory = factory_of(item)
    if getattr(factory, "path", None) is not None:
        yield factory.path
    if joined:
        for inner in getattr(factory, "inner_datasets", None) or ():
            yield from dataset_paths(inner)


def encoders_by_folder(datasets: Sequence[Any]) -> Encoders:
    """Of all, with those that they join."""
    paths = {str(path): path for item in datasets for path in dataset_paths(item)}
    return {folder: _encoders_of(path) for folder, path in paths.items()}


def _encoders_of(path: Any) -> list[dict[str, Any]]:
    try:
        with (EPath(path) / RUN).open("rb") as file:
            encoders = json.loads(file.read())["encoders"]
        described = [encoders["visual"], *encoders["text"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return described if all(isinstance(about, dict) for about in described) else []
