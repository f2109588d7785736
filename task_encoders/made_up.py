"""A word of warning about datasets that were encoded with weights that nobody trained."""

from __future__ import annotations

import logging
from typing import Any

from task_encoders.runs import dataset_paths, encoders_of

logger = logging.getLogger(__name__)
_warned: set[str] = set()  #: folders


def warn_of_made_up_weights(dataset: Any) -> None:
    """Say once of each dataset that ``dataset``, as Energon puts them together, consists of that it
    was made with tiny or random weights; of datasets of others nothing is known.
    """
    for path in dataset_paths(dataset):
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


def _made_up(path: Any) -> set[str]:
    sizes = {str(about.get("model")) for about in encoders_of(path) if "architecture" in about}
    return sizes & {"tiny", "random"}
