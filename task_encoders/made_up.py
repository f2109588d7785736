"""A word of warning about datasets that were encoded with weights that nobody trained."""

from __future__ import annotations

import logging

from task_encoders.runs import Encoders

logger = logging.getLogger(__name__)
_warned: set[str] = set()  #: folders


def warn_of_made_up_weights(encoders: Encoders) -> None:
    """Say once of each dataset that it was made with tiny or random weights; of datasets of others
    nothing is known.
    """
    for folder, described in encoders.items():
        if folder in _warned:
            continue
        _warned.add(folder)
        models = {str(about.get("model")) for about in described if "architecture" in about}
        sizes = sorted(models & {"tiny", "random"})
        if sizes:
            logger.warning(
                "%s was encoded with %s weights, which nobody trained: it is for trying things "
                "out, and a model learns nothing from it",
                folder,
                " and ".join(sizes),
            )
