"""Caption dropout for classifier-free guidance, to the stored empty caption."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from megatron.energon.epathlib import EPath
from megatron.energon.errors import FatalSampleError

from cookers import DecodeError, LatentSample, TextEmbeddings, as_text, load_pickle, unpack_text
from task_encoders.draws import uniform

#: Where ``energon-prep encode`` stores the embedding of the empty caption, below the dataset's
#: folder.
EMPTY_CAPTION = ".energon-prep/empty_caption.pickle"

EmptyCaption = torch.Tensor | TextEmbeddings | str | Path


@dataclass(frozen=True, kw_only=True)
class CaptionDropout:
    """The probability with which a caption is replaced by the empty one."""

    probability: float = 0.0
    empty: TextEmbeddings | None = None  #: None if nothing is dropped


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
    return CaptionDropout(
        probability=probability, empty=load_empty_caption(source) if probability else None
    )


def drop_caption(sample: LatentSample, dropout: CaptionDropout) -> LatentSample:
    """The sample, or the sample with the empty caption, by a draw, if there is anything to draw.

    Fatal if the empty caption does not fit the dataset: else all that is drawn were skipped.
    """
    if not dropout.probability or uniform() >= dropout.probability:
        return sample
    assert dropout.empty is not None
    found, expected = _widths(dropout.empty), _widths(sample)
    if found != expected:
        raise FatalSampleError(
            f"the empty caption has text and pooled embeddings of width {found}, sample "
            f"{sample.__key__} of width {expected}: pass the empty_caption that was made with "
            "this dataset"
        )
    return replace(
        sample,
        text=dropout.empty.text,
        pooled=dropout.empty.pooled,
        encoders=dropout.empty.encoders,
    )


def load_empty_caption(source: EmptyCaption | None) -> TextEmbeddings:
    """The embeddings of the empty caption. Raises ValueError if they are not there.

    ``source`` is the embedding, the pickle of it (as the text parts are written), or the folder of
    a dataset.
    """
    if source is None:
        raise ValueError(
            "caption_dropout needs empty_caption, the embedding of the empty caption: "
            f"energon-prep encode stores it as {EMPTY_CAPTION} in the dataset's folder; pass "
            "that folder"
        )
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


def _widths(text: LatentSample | TextEmbeddings) -> tuple[int, int | None]:
    return text.text.shape[1], None if text.pooled is None else len(text.pooled)
