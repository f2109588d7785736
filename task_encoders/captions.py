"""Caption dropout for classifier-free guidance, to the stored empty caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from megatron.energon import Sample
from megatron.energon.epathlib import EPath

from cookers import DecodeError, LatentSample, TextEmbeddings, as_text, load_pickle, unpack_text
from task_encoders.draws import uniform
from task_encoders.errors import DataError
from task_encoders.runs import dataset_paths

#: Where ``energon-prep encode`` stores the embedding of the empty caption, below the dataset's
#: folder.
EMPTY_CAPTION = ".energon-prep/empty_caption.pickle"

#: Energon 5 and 6 do not say of which dataset a sample is.
_TELLS_DATASETS = "__sources__" in Sample.__dataclass_fields__

EmptyCaption = torch.Tensor | TextEmbeddings | str | Path


@dataclass(frozen=True, kw_only=True)
class CaptionDropout:
    """The probability with which a caption is replaced by the empty one."""

    probability: float = 0.0
    #: of all samples; None: each sample's is that of its own dataset
    empty: TextEmbeddings | None = None
    stored: dict[str, TextEmbeddings] = field(default_factory=dict)  #: by dataset, as far as read

    def stored_in(self, dataset: Any) -> TextEmbeddings:
        """That of a dataset, given by its folder. Raises ValueError."""
        if str(dataset) not in self.stored:
            self.stored[str(dataset)] = load_empty_caption(dataset)
        return self.stored[str(dataset)]

    def require(self, datasets: Sequence[Any]) -> None:
        """Raise ValueError for a dataset, as Energon hands it over, whose samples could lose their
        captions and that has no empty one. Of joined ones the texts' is read with the samples.
        """
        if self.probability and self.empty is None:
            for dataset in datasets:
                for path in dataset_paths(dataset, joined=False):
                    self.stored_in(path)


def make_dropout(probability: float, source: EmptyCaption | None) -> CaptionDropout:
    """Load the empty caption if it is needed. Raises ValueError for what is no probability or not
    there.
    """
    if not 0 <= probability <= 1:
        raise ValueError(
            f"caption_dropout={probability} is no probability; give a number from 0 to 1"
        )
    if source is not None and not probability:
        raise ValueError(
            "empty_caption is given and caption_dropout is 0, so that no caption is replaced by "
            "it: give a caption_dropout, or leave empty_caption out"
        )
    if probability and source is None and not _TELLS_DATASETS:
        raise ValueError(
            "caption_dropout needs empty_caption, the embedding of the empty caption, as this "
            "Energon does not say of which dataset a sample is: "
            f"energon-prep encode stores it as {EMPTY_CAPTION} in the dataset's folder; pass "
            "that folder"
        )
    return CaptionDropout(
        probability=probability, empty=None if source is None else load_empty_caption(source)
    )


def drop_caption(sample: LatentSample, dropout: CaptionDropout) -> LatentSample:
    """The sample, or the sample with the empty caption, by a draw, if there is anything to draw.

    Fatal if the empty caption does not fit the dataset: else all that is drawn were skipped.
    """
    if not dropout.probability or uniform() >= dropout.probability:
        return sample
    empty = _taken_as_in(sample, _empty_of(sample, dropout))
    found, expected = _widths(empty), _widths(sample)
    if found != expected:
        raise DataError(
            f"the empty caption has text and pooled embeddings of width {found}, sample "
            f"{sample.__key__} of width {expected}: pass the empty_caption that was made with "
            "this dataset"
        )
    return replace(sample, text=empty.text, pooled=empty.pooled, encoders=empty.encoders)


def load_empty_caption(source: EmptyCaption) -> TextEmbeddings:
    """The embeddings of the empty caption. Raises ValueError if they are not there.

    ``source`` is the embedding, the pickle of it (as the text parts are written), or the folder of
    a dataset.
    """
    if isinstance(source, TextEmbeddings):
        return source
    if isinstance(source, torch.Tensor):
        return as_text(source)
    path = EPath(source)
    if not path.name.endswith(".pickle"):
        path = path / EMPTY_CAPTION
    try:
        with path.open("rb") as file:
            return as_text(unpack_text(load_pickle(file.read())))
    except FileNotFoundError as error:
        raise ValueError(
            f"no embedding of the empty caption at {path}: pass the folder of the dataset"
        ) from error
    except DecodeError as error:
        raise DecodeError(f"{path}: {error}") from error


def _empty_of(sample: LatentSample, dropout: CaptionDropout) -> TextEmbeddings:
    if dropout.empty is not None:
        return dropout.empty
    sources = sample.__sources__
    if not sources:
        raise DataError(
            f"sample {sample.__key__} does not say of which dataset it is (its cooker left "
            "__sources__ out), so that its empty caption cannot be found: pass empty_caption"
        )
    try:
        return dropout.stored_in(sources[0].dataset_path)
    except ValueError as error:
        raise DataError(str(error)) from error


def _taken_as_in(sample: LatentSample, empty: TextEmbeddings) -> TextEmbeddings:
    """With the text and the pooled embeddings of those text encoders of which the sample's cooker
    took the sample's (``Layout.hidden_from`` and ``pooled_from``).
    """
    return replace(
        empty,
        text=_of_same(sample.text, "hidden", sample, empty, empty.text),
        pooled=_of_same(sample.pooled, "pooled", sample, empty, empty.pooled),
    )


def _of_same(
    taken: torch.Tensor | None, part: str, sample: LatentSample, empty: TextEmbeddings, other: Any
) -> Any:
    for name, stored in sample.encoders.items():
        if taken is not None and stored.get(part) is taken:
            return empty.encoders.get(name, {}).get(part, other)
    return other


def _widths(text: LatentSample | TextEmbeddings) -> tuple[int, int | None]:
    return text.text.shape[1], None if text.pooled is None else len(text.pooled)
