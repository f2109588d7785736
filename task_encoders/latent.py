"""Station 9, task encoders: LatentSample -> LatentBatch, for any model that takes latents and text embeddings."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from megatron.energon import Batch, TaskEncoder, edataclass, stateless
from megatron.energon.epathlib import EPath
from megatron.energon.errors import FatalSampleError

from cookers import DecodeError, LatentSample, as_text, latent_cooker, load_pickle

#: Where ``energon-prep encode`` stores the embedding of the empty caption, below the dataset's folder.
EMPTY_CAPTION = ".energon-prep/empty_caption.pickle"


@edataclass
class LatentBatch(Batch):  # type: ignore[misc]
    """Samples with latents of one shape, their text padded with zeros; ``pin_memory`` is Energon's."""

    latents: torch.Tensor  #: [B, C, T, H, W]
    text: torch.Tensor  #: [B, S, D]
    text_mask: torch.Tensor  #: [B, S] bool, True where there is a token
    pooled: torch.Tensor | None = None  #: [B, D'], if the samples have it
    metadata: list[dict[str, Any]]  #: the JSON part of each sample


class LatentTaskEncoder(TaskEncoder):  # type: ignore[misc]
    """Reads ``pth``/``pickle``/``json`` samples safely and batches them by latent shape (bucket batching).

    What a training script writes::

        encoder = LatentTaskEncoder(caption_dropout=0.1, empty_caption=path)
        dataset = get_train_dataset(path, task_encoder=encoder, worker_config=WorkerConfig.default_worker_config(4),
                                    batch_size=8, shuffle_buffer_size=1000, max_samples_per_sequence=100)
        loader = get_savable_loader(dataset)  # save_state_rank() and restore_state_rank() go into the checkpoint

    ``batch_size``, ``shuffle_buffer_size`` and ``max_samples_per_sequence`` (samples read in a row from one shard) have
    no defaults in Energon; None switches the latter two off, the batch size must be a number.

    Ends of epochs: by default Energon repeats for ever, every batch is full, and samples that do not fill one wait for
    the next epoch. With ``repeat=False``, and in ``get_val_dataset``, an epoch has every sample exactly once: it ends
    with up to one smaller batch per shape and worker, unless ``batch_drop_last=True`` drops them. Save a loader's state
    only with ``repeat=True`` and after its first batch: without repetition a restored loader can start another epoch,
    and with worker processes ``save_state_rank`` waits for ever before the first batch. Close the iterator
    (``contextlib.closing``) where a loop ends early: else the end of the program waits 5 seconds for each worker.

    Faults: a sample with more than ``max_text_tokens`` (and ``truncate=False``), or one that does not decode, raises
    ValueError, and Energon logs and skips it; 100 in a row stop the training. To stop at the first one, pass
    ``global_error_handler=reraise_exception`` to WorkerConfig. Use a second encoder, without dropout, for validation.
    """

    decoder = None  # raw bytes come to the cooker; Energon's own decoder runs what a pickle asks for
    cookers = [latent_cooker]

    def __init__(
        self,
        *,
        max_text_tokens: int | None = 512,
        truncate: bool = False,
        pad_to_max: bool = False,
        text_dtype: torch.dtype | None = None,
        latent_dtype: torch.dtype | None = None,
        caption_dropout: float = 0.0,
        empty_caption: torch.Tensor | str | Path | None = None,
    ) -> None:
        """Raise ValueError if the arguments do not go together.

        ``pad_to_max`` pads text to ``max_text_tokens`` instead of to the longest of the batch; a dtype of None keeps
        what is stored; ``caption_dropout`` is the probability with which a caption is replaced by ``empty_caption``:
        its embedding [S, D], the pickle of it, or the folder of the dataset, below which it lies.
        """
        super().__init__()
        if pad_to_max and max_text_tokens is None:
            raise ValueError("pad_to_max=True needs max_text_tokens, the length to pad to; it is None")
        if not 0 <= caption_dropout <= 1:
            raise ValueError(f"caption_dropout={caption_dropout} is no probability; give a number from 0 to 1")
        self.max_text_tokens = max_text_tokens
        self.truncate = truncate
        self.pad_to_max = pad_to_max
        self.text_dtype = text_dtype
        self.latent_dtype = latent_dtype
        self.caption_dropout = caption_dropout
        self.empty_caption = load_empty_caption(empty_caption) if caption_dropout else None

    @stateless(restore_seeds=True)  # type: ignore[untyped-decorator]
    def encode_sample(self, sample: LatentSample) -> LatentSample:
        """Cut, drop and convert. The draw depends on the sample's index alone, so that a restored one is the same."""
        text, pooled = self._cut(sample.text, sample.__key__), sample.pooled
        if random.random() < self.caption_dropout:  # Energon has seeded it
            text, pooled = self._dropped(sample)
        return LatentSample.derive_from(  # type: ignore[no-any-return]
            sample,
            latent=sample.latent.to(self.latent_dtype),
            text=text.to(self.text_dtype),
            pooled=None if pooled is None else pooled.to(self.text_dtype),
            metadata=sample.metadata,
        )

    def batch_group_criterion(self, sample: LatentSample) -> tuple[tuple[int, ...], None]:
        """The latent's shape; None stands for the batch size that was given to ``get_train_dataset``."""
        return tuple(sample.latent.shape), None

    @stateless  # type: ignore[untyped-decorator]
    def batch(self, samples: list[LatentSample]) -> LatentBatch:
        """Stack latents, pad text. Raises ValueError if the samples' embeddings do not go together."""
        text, text_mask = _pad([sample.text for sample in samples], self.max_text_tokens if self.pad_to_max else None)
        pooled = [sample.pooled for sample in samples if sample.pooled is not None]
        if pooled and len(pooled) < len(samples):
            raise ValueError(f"{len(pooled)} of {len(samples)} samples have pooled embeddings: all or none must")
        return LatentBatch.from_samples(  # type: ignore[no-any-return]
            samples,
            latents=torch.stack([sample.latent for sample in samples]),
            text=text,
            text_mask=text_mask,
            pooled=torch.stack(pooled) if pooled else None,
            metadata=[sample.metadata for sample in samples],
        )

    def _cut(self, text: torch.Tensor, key: str) -> torch.Tensor:
        if self.max_text_tokens is None or len(text) <= self.max_text_tokens:
            return text
        if self.truncate:
            return text[: self.max_text_tokens]
        raise ValueError(
            f"{key}: text of {len(text)} tokens, more than max_text_tokens={self.max_text_tokens}; "
            "raise that or pass truncate=True"
        )

    def _dropped(self, sample: LatentSample) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The empty caption in place of the sample's. Fatal if it does not fit: else all that is drawn were skipped."""
        assert self.empty_caption is not None
        text, pooled = self.empty_caption
        text = self._cut(text, "the empty caption")
        found, expected = _widths(text, pooled), _widths(sample.text, sample.pooled)
        if found != expected:
            raise FatalSampleError(
                f"the empty caption has text and pooled embeddings of width {found}, sample {sample.__key__} of width "
                f"{expected}: pass the empty_caption that was made with this dataset"
            )
        return text, pooled


def load_empty_caption(source: torch.Tensor | str | Path | None) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Text [S, D] and, where there is one, pooled [D'] of the empty caption. Raises ValueError if it is not there.

    ``source`` is the embedding, the pickle of it (as the text parts are written), or the folder of a dataset.
    """
    if source is None:
        raise ValueError(
            "caption_dropout needs empty_caption, the embedding of the empty caption: energon-prep encode stores it as "
            f"{EMPTY_CAPTION} in the dataset's folder; pass that folder"
        )
    if isinstance(source, torch.Tensor):
        return as_text(source)
    path = EPath(source)
    if not path.name.endswith(".pickle"):
        path = path / EMPTY_CAPTION
    try:
        return as_text(load_pickle(path.read_bytes()))
    except FileNotFoundError as error:
        raise ValueError(f"no embedding of the empty caption at {path}: pass the folder of the dataset") from error
    except DecodeError as error:
        raise DecodeError(f"{path}: {error}") from error


def _widths(text: torch.Tensor, pooled: torch.Tensor | None) -> tuple[int, int | None]:
    return text.shape[1], None if pooled is None else len(pooled)


def _pad(texts: list[torch.Tensor], length: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """[S_i, D] each -> [B, S, D] with zeros and [B, S] True where there is a token; S = ``length`` or the longest."""
    widths = sorted({text.shape[1] for text in texts})
    if len(widths) > 1:
        raise ValueError(f"text embeddings of widths {widths} in one batch: the dataset mixes text encoders")
    length = length or max(len(text) for text in texts)
    padded = texts[0].new_zeros(len(texts), length, widths[0])
    mask = torch.zeros(len(texts), length, dtype=torch.bool)
    for row, text in enumerate(texts):
        padded[row, : len(text)] = text
        mask[row, : len(text)] = True
    return padded, mask
