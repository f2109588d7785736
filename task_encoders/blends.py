"""What the datasets of a blend must have in common, as one model trains on all of them."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from cookers import LatentSample
from task_encoders.errors import DataError
from task_encoders.runs import Encoders, dataset_paths

#: What two runs of the same weights still do differently, so that a model must not read both.
_USE = ("class", "width", "normalize", "hidden_layer", "output")

logger = logging.getLogger(__name__)
_warned: set[tuple[str, str]] = set()  #: pairs of folders


class Blend:
    """What one worker has seen of each dataset: its first sample speaks for it.

    Samples that fit no model with the others were left out one by one otherwise, or with the whole
    batch that they are in. Energon 5 and 6 do not say of which dataset a sample is: there nothing
    is compared.
    """

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, Any]] = {}

    def require_same(self, sample: LatentSample, *, all_text: bool = False) -> None:
        """Raise DataError, which stops the training, for the first sample of a dataset that has
        other channels or widths than another dataset; ``all_text``: or other pooled embeddings or
        text encoders.
        """
        dataset = _dataset_of(sample)
        if dataset is None or dataset in self._seen:
            return
        found = _kind(sample, all_text=all_text)
        for other, known in self._seen.items():
            for what, value in found.items():
                if value != known[what]:
                    raise DataError(
                        f"the datasets of the blend do not go together: {dataset} has {what} "
                        f"{value} (sample {sample.__key__}), {other} has {what} {known[what]}; "
                        "blend datasets of the same encoders, or train on one of them"
                    )
        self._seen[dataset] = found


def warn_of_other_encoders(datasets: Sequence[Any], encoders: Encoders) -> None:
    """Say once of each two datasets that they were made with different encoders, which shapes alone
    do not tell; of datasets of others nothing is known.

    A dataset that others are joined to is passed over: which of its parts are read is not known.
    """
    paths = sorted({str(path) for item in datasets for path in dataset_paths(item, joined=False)})
    known = [(path, encoders[path]) for path in paths if encoders[path]]
    for (one, ours), (other, theirs) in itertools.pairwise(known):
        differences = list(_differences(ours, theirs))
        if differences and (one, other) not in _warned:
            _warned.add((one, other))
            logger.warning(
                "%s and %s were made with different encoders, and a model cannot tell them apart: "
                "%s",
                one,
                other,
                "; ".join(differences),
            )


def _dataset_of(sample: LatentSample) -> str | None:
    """One, or of a joined sample all of them."""
    sources = getattr(sample, "__sources__", None) or ()
    return " with ".join(dict.fromkeys(str(source.dataset_path) for source in sources)) or None


def _kind(sample: LatentSample, *, all_text: bool) -> dict[str, Any]:
    kind: dict[str, Any] = {
        "latent channels": sample.latent.shape[0],
        "text width": sample.text.shape[1],
    }
    if all_text:
        kind["pooled width"] = None if sample.pooled is None else len(sample.pooled)
        kind["text encoders"] = {
            name: {part: tensor.shape[-1] for part, tensor in sorted(stored.items())}
            for name, stored in sample.encoders.items()
        }
    return kind


def _differences(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> Iterator[str]:
    """By encoder, as far as both have one in that place: the shapes tell the rest."""
    for one, other in zip(ours, theirs, strict=False):
        used = [what for what in _USE if one.get(what) != other.get(what)]
        if used or not _same_weights(one, other):
            yield f"{_named(one, used)}, and {_named(other, used)}"


def _same_weights(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """True where it cannot be told: of a copy on disk and of a repository's revision."""
    if "architecture" in one or "architecture" in other:  # nobody trained these
        names = ["model", "architecture", "subfolder"]
    elif "weights" in one and "weights" in other:
        names = ["weights"]
    elif one.get("revision") and other.get("revision"):
        names = ["model", "revision", "subfolder"]
    else:
        return True
    return all(one.get(name) == other.get(name) for name in names)


def _named(about: dict[str, Any], used: Sequence[str]) -> str:
    revision = f" at {about['revision']}" if about.get("revision") else ""
    more = "".join(f", {what} {about.get(what)}" for what in used)
    return f"{about.get('model')}{revision}{more}"
