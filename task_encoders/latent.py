"""LatentSample -> LatentBatch, for any model that takes latents and text embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from megatron.energon import Batch, Cooker, stateless

from cookers import LatentSample, TextEmbeddings, all_cookers
from task_encoders.base import BytesTaskEncoder
from task_encoders.by_tokens import (
    latent_tokens,
    require_max_tokens,
    require_one_size,
    samples_of,
)
from task_encoders.captions import EmptyCaption, drop_caption, make_dropout
from task_encoders.draws import seeded
from task_encoders.errors import DataError
from task_encoders.filters import ALL, Filters, skip_unwanted
from task_encoders.prepare import draw_latent
from task_encoders.sequences import stack_padded


@dataclass(kw_only=True, slots=True)
class LatentBatch(Batch):  # type: ignore[misc]
    """Samples with latents of one shape, their text padded with zeros; ``pin_memory`` is
    Energon's.
    """

    latents: torch.Tensor  #: [B, C, T, H, W]
    text: torch.Tensor  #: [B, S, D]
    text_mask: torch.Tensor  #: [B, S] bool, True where there is a token
    pooled: torch.Tensor | None = None  #: [B, D'], if the samples have it
    #: Where text is stored by text encoder: {"t5": {"hidden": [B, S, D], "mask": [B, S]}, "clip":
    #: {"pooled": [B, D']}}.
    encoders: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)
    metadata: list[dict[str, Any]]  #: the JSON part of each sample

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> LatentBatch:
        """The batch with its tensors on ``device``; ``non_blocking`` is for pinned ones."""

        def moved(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.to(device, non_blocking=non_blocking)

        return replace(
            self,
            latents=moved(self.latents),
            text=moved(self.text),
            text_mask=moved(self.text_mask),
            pooled=None if self.pooled is None else moved(self.pooled),
            encoders={
                name: {part: moved(tensor) for part, tensor in stored.items()}
                for name, stored in self.encoders.items()
            },
        )


class LatentTaskEncoder(BytesTaskEncoder):
    """Reads the samples of any target safely and batches them by latent shape (bucket batching).

    What a training script writes::

        encoder = LatentTaskEncoder(caption_dropout=0.1)
        dataset = get_train_dataset(path, task_encoder=encoder,
        worker_config=WorkerConfig.default_worker_config(4),
                                    batch_size=8, shuffle_buffer_size=1000,
                                    max_samples_per_sequence=100)
        loader = get_savable_loader(dataset)  # save_state_rank() and restore_state_rank() go into
        the checkpoint

    ``batch_size``, ``shuffle_buffer_size`` and ``max_samples_per_sequence`` (samples read in a row
    from one shard) have no defaults in Energon; None switches the latter two off, the batch size
    must be a number, or None where ``max_tokens`` is given.

    Ends of epochs: by default Energon repeats for ever, every batch is full, and samples that do
    not fill one wait for the next epoch. With ``repeat=False``, and in ``get_val_dataset``, an
    epoch has every sample exactly once: it ends with up to one smaller batch per shape and worker,
    unless ``batch_drop_last=True`` drops them. Save a loader's state only with ``repeat=True`` and
    after its first batch: without repetition a restored loader can start another epoch, and with
    worker processes ``save_state_rank`` waits for ever before the first batch. Close the iterator
    (``contextlib.closing``) where a loop ends early: else the end of the program waits 5 seconds
    for each worker.

    Faults: a sample with more than ``max_text_tokens`` (and ``truncate=False``), or one that does
    not decode, raises ValueError, and Energon logs and skips it; 100 in a row stop the training. To
    stop at the first one, pass ``global_error_handler=reraise_exception`` to WorkerConfig. Use a
    second encoder, without dropout, for validation.
    """

    def __init__(
        self,
        *,
        max_text_tokens: int | None = 512,
        truncate: bool = False,
        pad_to_max: bool = False,
        text_dtype: torch.dtype | None = None,
        latent_dtype: torch.dtype | None = None,
        filters: Filters = ALL,
        caption_dropout: float = 0.0,
        empty_caption: EmptyCaption | None = None,
        cookers: Sequence[Cooker] | None = None,
        max_tokens: int | None = None,
    ) -> None:
        """Raise ValueError if the arguments do not go together.

        ``pad_to_max`` pads text to ``max_text_tokens`` instead of to the longest of the batch; a
        dtype of None keeps what is stored; ``filters`` say which samples are skipped;
        ``caption_dropout`` is the probability with which a caption is replaced by the empty one:
        that of the sample's own dataset, or ``empty_caption``, which is its embedding [S, D], the
        pickle of it, or the folder of the dataset below which it lies. ``cookers``, as
        ``make_cooker`` makes them, choose a resolution or text encoder. ``max_tokens``: batches of
        as many samples as have that many patches of 1 x 2 x 2, instead of ``batch_size`` samples,
        so that each is about as much work.
        """
        super().__init__(make_dropout(caption_dropout, empty_caption))
        require_max_tokens(max_tokens)
        if pad_to_max and max_text_tokens is None:
            raise ValueError(
                "pad_to_max=True needs max_text_tokens, the length to pad to; it is None"
            )
        self.max_text_tokens = max_text_tokens
        self.truncate = truncate
        self.pad_to_max = pad_to_max
        self.text_dtype = text_dtype
        self.latent_dtype = latent_dtype
        self.filters = filters
        self.max_tokens = max_tokens
        self.cookers = all_cookers() if cookers is None else cookers
        if self.dropout.empty is not None:
            self._cut(self.dropout.empty, "the empty caption")

    @seeded
    def encode_sample(self, sample: LatentSample) -> LatentSample:
        """Filter, cut, drop, draw and convert. Draws depend on the sample's index alone: a restored
        one is the same.
        """
        skip_unwanted(sample, self.filters)
        self.blend.require_same(sample, all_text=True)
        text = self._cut(sample.embeddings, f"sample {sample.__key__}")
        dropped = drop_caption(sample, self.dropout)
        if dropped is not sample:
            text = self._cut_empty(dropped.embeddings)
        sample = draw_latent(dropped)
        text = _converted(text, self.text_dtype)
        latent = sample.latent.to(self.latent_dtype)
        return replace(
            sample, latent=latent, text=text.text, pooled=text.pooled, encoders=text.encoders
        )

    def batch_group_criterion(self, sample: LatentSample) -> tuple[tuple[int, ...], int | None]:
        """The latent's shape, and the samples of it in a batch: None for the batch size that was
        given to ``get_train_dataset``.
        """
        shape = tuple(sample.latent.shape)
        return shape, samples_of(latent_tokens(*shape[1:]), self.max_tokens)

    def build_batch(self, dataset: Any, *, batch_size: int | None = None, **options: Any) -> Any:
        """Energon's, which ``get_train_dataset`` calls. Raises ValueError unless either
        ``batch_size`` or ``max_tokens`` is given.
        """
        require_one_size(batch_size, self.max_tokens)
        return super().build_batch(dataset, batch_size=batch_size, **options)

    @stateless  # type: ignore[untyped-decorator]
    def batch(self, samples: list[LatentSample]) -> LatentBatch:
        """Stack latents, pad text. Raises ValueError if the samples' embeddings do not go
        together.
        """
        length = self.max_text_tokens if self.pad_to_max else None
        text, text_mask = _pad([sample.text for sample in samples], length)
        pooled = [sample.pooled for sample in samples if sample.pooled is not None]
        if pooled and len(pooled) < len(samples):
            raise ValueError(
                f"{len(pooled)} of {len(samples)} samples have pooled embeddings: all or none must"
            )
        return _batch_of(
            samples,
            latents=torch.stack([sample.latent for sample in samples]),
            text=text,
            text_mask=text_mask,
            pooled=torch.stack(pooled) if pooled else None,
            encoders=_batch_encoders([sample.encoders for sample in samples], length),
            metadata=[sample.metadata for sample in samples],
        )

    def _cut_empty(self, text: TextEmbeddings) -> TextEmbeddings:
        """Fatal if it is too long: else all samples that lose their caption were skipped."""
        try:
            return self._cut(text, "the empty caption")
        except ValueError as error:
            raise DataError(str(error)) from error

    def _cut(self, text: TextEmbeddings, what: str) -> TextEmbeddings:
        hidden = [
            text.text,
            *(stored["hidden"] for stored in text.encoders.values() if "hidden" in stored),
        ]
        tokens, most = max(map(len, hidden)), self.max_text_tokens
        if most is None or tokens <= most:
            return text
        if not self.truncate:
            raise ValueError(
                f"{what}: text of {tokens} tokens, more than max_text_tokens={most}; raise "
                "that or pass truncate=True"
            )
        encoders = {
            name: {
                kind: value[:most] if kind == "hidden" else value for kind, value in stored.items()
            }
            for name, stored in text.encoders.items()
        }
        return replace(text, text=text.text[:most], encoders=encoders)


def _batch_of(samples: Sequence[LatentSample], **fields: Any) -> LatentBatch:
    """With the samples' keys, which a batch of Energon 7 has and one of Energon 5 or 6 has no place
    for.
    """
    make = getattr(LatentBatch, "from_samples", None)
    batch: LatentBatch = LatentBatch(**fields) if make is None else make(samples, **fields)
    return batch


def _converted(text: TextEmbeddings, dtype: torch.dtype | None) -> TextEmbeddings:
    return TextEmbeddings(
        text=text.text.to(dtype),
        pooled=None if text.pooled is None else text.pooled.to(dtype),
        encoders={
            name: {kind: value.to(dtype) for kind, value in stored.items()}
            for name, stored in text.encoders.items()
        },
    )


def _batch_encoders(
    samples: list[dict[str, dict[str, torch.Tensor]]], length: int | None
) -> dict[str, dict[str, torch.Tensor]]:
    """Embeddings by text encoder, one dict a sample -> one dict of batches, with masks."""
    layouts = {str({name: sorted(stored) for name, stored in sample.items()}) for sample in samples}
    if len(layouts) > 1:
        raise ValueError(
            f"text embeddings of different encoders in one batch: {' and '.join(sorted(layouts))}"
        )
    batch: dict[str, dict[str, torch.Tensor]] = {name: {} for name in samples[0]}
    for name, stored in samples[0].items():
        if "hidden" in stored:
            batch[name]["hidden"], batch[name]["mask"] = _pad(
                [sample[name]["hidden"] for sample in samples], length
            )
        if "pooled" in stored:
            batch[name]["pooled"] = torch.stack([sample[name]["pooled"] for sample in samples])
    return batch


def _pad(texts: list[torch.Tensor], length: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """[S_i, D] each -> [B, S, D] with zeros and [B, S] True where there is a token; S = ``length``
    or the longest.
    """
    widths = sorted({text.shape[1] for text in texts})
    if len(widths) > 1:
        raise ValueError(
            f"text embeddings of widths {widths} in one batch: the dataset mixes text encoders"
        )
    lengths = torch.tensor([len(text) for text in texts])
    padded = stack_padded(texts, length)
    return padded, torch.arange(padded.shape[1]) < lengths[:, None]
