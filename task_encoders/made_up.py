"""A word of warning about datasets that were encoded with weights that nobody trained."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

from megatron.energon.epathlib import EPath

#: Where ``energon-prep encode`` says what a dataset was made with, below the dataset's folder.
RUN = ".energon-prep/run.json"

logger = logging.getLogger(__name__)
_warned: set[str] = set()  #: folders


def warn_of_made_up_weights(dataset: Any) -> None:
    """Say once of each dataset that ``dataset``, as Energon puts them together, consists of that it
    was made with tiny or random weights; of datasets of others nothing is known.
    """
    for path in _paths(dataset):
        if str(path) in _warned:
            continue
        _warned.add(str(path))
        sizes = sorted(_made_up(path))
        if sizes:
            logger.warning(
                "%s was encoded with %s weights, which nobody trained: it is for trying things "
                "out, and a model learns nothing from it",
                path,
                " and ".join(sizes),
            )


def _paths(dataset: Any) -> Iterator[Any]:
    if isinstance(dataset, tuple):  # with its weight, in Energon 5 and 6
        dataset = dataset[0]
    if getattr(dataset, "path", None) is not None:
        yield dataset.path
    for inner in (
        getattr(dataset, "dataset", None),
        *(getattr(dataset, "inner_datasets", ()) or ()),
    ):
        if inner is not None:
            yield from _paths(inner)


def _made_up(path: Any) -> Iterator[str]:
    try:
        with (EPath(path) / RUN).open("rb") as file:
            encoders = json.loads(file.read())["encoders"]
        described = [encoders["visual"], *encoders["text"]]
        sizes = {str(about["model"]) for about in described if "architecture" in about}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return
    yield from sizes & {"tiny", "random"}
