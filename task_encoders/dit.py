"""LatentSample -> the batches of DiT in DFM (``DiTTaskEncoder``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from megatron.energon import Cooker, Sample, SkipSample, stateless

from cookers import LatentSample, trainer_cookers
from task_encoders import parallel
from task_encoders.base import BytesTaskEncoder
from task_encoders.captions import EmptyCaption, make_dropout
from task_encoders.checks import require_latent, require_text
from task_encoders.draws import seeded
from task_encoders.filters import ALL, Filters
from task_encoders.packing import PackingBuffer, join, require_length, require_packing
from task_encoders.prepare import prepare
from task_encoders.sequences import (
    counts,
    grid_positions,
    join_texts,
    ones_to,
    pad_to,
    patchify,
    round_up,
    stack_padded,
)
from task_encoders.skips import skip_too_long

MAX_TOKENS = 512
MULTIPLE = 64  #: video and text are padded to multiples of this


@dataclass(kw_only=True, slots=True)
class DiTSample(Sample):  # type: ignore[misc]
    """n samples, one after the other; one, until they are packed. Lengths and shapes are int32.

    Text is padded in the batch, not before: the packing buffer holds many samples.
    """

    video: torch.Tensor  #: [S, C*4]
    context_embeddings: list[torch.Tensor]  #: n of [K_i, D] bfloat16, real tokens
    loss_mask: torch.Tensor  #: [S] bfloat16, one where there is a patch
    seq_len_q: torch.Tensor  #: [n]; their padded lengths add up to S
    seq_len_q_padded: torch.Tensor  #: [n]
    seq_len_kv: torch.Tensor  #: [n], real tokens
    seq_len_kv_padded: torch.Tensor  #: [n]
    pos_ids: torch.Tensor  #: [S, 3] int64: (t, h, w) in patches, zero in padding
    latent_shape: torch.Tensor  #: [n, 4]: C, T, H, W
    video_metadata: list[dict[str, Any]]  #: the JSON part of each
    packed: bool = False


class DiTTaskEncoder(BytesTaskEncoder):
    """Packs clips and images into sequences of at most ``seq_length`` tokens, or stacks those of
    one length.

    What a training script writes::

        dataset = get_train_dataset(path, task_encoder=DiTTaskEncoder(seq_length=8192),
        batch_size=1,
                                    packing_buffer_size=100, shuffle_buffer_size=1000,
                                    max_samples_per_sequence=100, worker_config=...)

    The batch is a dict: ``video`` [1, S, 64], ``context_embeddings`` [1, K, D] bfloat16,
    ``context_mask`` [1, K] bfloat16, ``loss_mask`` [1, S] bfloat16, ``seq_len_q``,
    ``seq_len_q_padded``, ``seq_len_kv``, ``seq_len_kv_padded`` [n] int32, ``pos_ids`` [1, S, 3]
    int64, ``latent_shape`` [n, 4] int32, ``video_metadata`` (n dicts). Each sample is padded to
    multiples of 64. Without ``seq_length`` and ``packing_buffer_size``, which the trainer itself
    cannot do without, the samples of a batch have sequences of one length, which lie along the
    first dimension, and n is B.

    Skipped, as by the trainer: samples with NaN, Inf or more than 1e3 in magnitude, those whose
    padded sequence is longer than ``seq_length``, and those whose T*H*W the tensor (and twice the
    context) parallel size does not divide. What it gets wrong is a ValueError with the sample's
    key: more than 512 tokens (it cuts the embeddings and not their mask), a latent that is no whole
    number of patches.
    """

    def __init__(
        self,
        *,
        seq_length: int | None = None,
        patch_spatial: int = 2,
        patch_temporal: int = 1,
        context_parallel_size: int | None = None,
        tensor_parallel_size: int | None = None,
        filters: Filters = ALL,
        caption_dropout: float = 0.0,
        empty_caption: EmptyCaption | None = None,
        cookers: Sequence[Cooker] | None = None,
    ) -> None:
        """A ``seq_length`` of None takes any sample, and does not pack. Parallel sizes of None are
        megatron-core's; the rest is as for WanTaskEncoder."""
        super().__init__(make_dropout(caption_dropout, empty_caption))
        require_length("seq_length", seq_length)
        self.seq_length = seq_length
        self.patch_spatial = patch_spatial
        self.patch_temporal = patch_temporal
        self.context_parallel_size = context_parallel_size
        self.tensor_parallel_size = tensor_parallel_size
        self.filters = filters
        self.cookers = trainer_cookers("dit") if cookers is None else cookers
        self.packing_buffer = PackingBuffer()

    @seeded
    def encode_sample(self, sample: LatentSample) -> DiTSample:
        sample = prepare(sample, filters=self.filters, dropout=self.dropout, blend=self.blend)
        require_latent(sample, patch=(self.patch_spatial, self.patch_temporal))
        require_text(sample, max_tokens=MAX_TOKENS)
        tokens = patchify(sample.latent, spatial=self.patch_spatial, temporal=self.patch_temporal)
        length, text_length = round_up(len(tokens), MULTIPLE), round_up(len(sample.text), MULTIPLE)
        self._skip_what_does_not_fit(sample, length)
        _, frames, height, width = sample.latent.shape
        positions = grid_positions(
            frames // self.patch_temporal, height // self.patch_spatial, width // self.patch_spatial
        )
        return DiTSample.derive_from(  # type: ignore[no-any-return]
            sample,
            video=pad_to(tokens, length),
            context_embeddings=[sample.text.to(torch.bfloat16)],
            loss_mask=ones_to(len(tokens), length),
            seq_len_q=counts(len(tokens)),
            seq_len_q_padded=counts(length),
            seq_len_kv=counts(len(sample.text)),
            seq_len_kv_padded=counts(text_length),
            pos_ids=pad_to(positions, length),
            latent_shape=counts(*sample.latent.shape)[None],
            video_metadata=[sample.metadata],
        )

    @seeded
    def select_samples_to_pack(self, samples: list[DiTSample]) -> list[list[DiTSample]]:
        assert self.seq_length is not None  # build_batch has seen to that
        lengths = [len(sample.video) for sample in samples]
        return self.packing_buffer.pack(samples, lengths, self.seq_length)

    @stateless  # type: ignore[untyped-decorator]
    def pack_selected_samples(self, samples: list[DiTSample]) -> DiTSample:
        joined: DiTSample = join(samples, packed=True)
        return joined

    def batch_group_criterion(self, sample: DiTSample) -> tuple[tuple[int, ...] | None, None]:
        """The shape of the sequence, if it is not a pack."""
        return None if sample.packed else tuple(sample.video.shape), None

    @stateless  # type: ignore[untyped-decorator]
    def batch(self, samples: list[DiTSample]) -> dict[str, Any]:
        texts = [
            join_texts(sample.context_embeddings, sample.seq_len_kv_padded.tolist())
            for sample in samples
        ]
        batch = {
            "video": stack_padded([sample.video for sample in samples]),
            "context_embeddings": stack_padded([text for text, _ in texts]),
            "context_mask": stack_padded([mask for _, mask in texts]),
            "loss_mask": stack_padded([sample.loss_mask for sample in samples]),
            "pos_ids": stack_padded([sample.pos_ids for sample in samples]),
        }
        for name in (
            "seq_len_q",
            "seq_len_q_padded",
            "seq_len_kv",
            "seq_len_kv_padded",
            "latent_shape",
        ):
            batch[name] = torch.cat([getattr(sample, name) for sample in samples])
        return {
            **batch,
            "video_metadata": [info for sample in samples for info in sample.video_metadata],
        }

    def build_batch(
        self,
        dataset: Any,
        *,
        batch_size: int | None,
        packing_buffer_size: int | None = None,
        **options: Any,
    ) -> Any:
        """Energon's, which ``get_train_dataset`` calls. Raises ValueError for packs of no size, or
        several a batch.
        """
        require_packing(
            "seq_length",
            self.seq_length,
            batch_size=batch_size,
            packing_buffer_size=packing_buffer_size,
        )
        self.packing_buffer.size = packing_buffer_size
        return super().build_batch(
            dataset, batch_size=batch_size, packing_buffer_size=packing_buffer_size, **options
        )

    def _skip_what_does_not_fit(self, sample: LatentSample, length: int) -> None:
        if self.seq_length is not None:
            skip_too_long(length, self.seq_length, "seq_length")
        parts = self.tensor_parallel_size or parallel.tensor_parallel_size()
        parts *= parallel.length_multiple(self.context_parallel_size)
        if sample.latent[0].numel() % parts:
            raise SkipSample(f"of a size that {parts} devices do not divide")
