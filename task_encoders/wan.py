"""LatentSample -> the batches of WAN in Megatron-Bridge and DFM (``WanTaskEncoder``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from megatron.energon import Cooker, Sample, stateless

from cookers import LatentSample, trainer_cookers
from task_encoders import parallel
from task_encoders.base import BytesTaskEncoder
from task_encoders.captions import EmptyCaption, make_dropout
from task_encoders.checks import require_latent, require_text
from task_encoders.draws import seeded
from task_encoders.filters import ALL, Filters
from task_encoders.packing import PackingBuffer, join, require_length, require_one_pack
from task_encoders.prepare import prepare
from task_encoders.sequences import counts, join_padded, ones_to, pad_to, patchify, round_up
from task_encoders.skips import skip_too_long

MAX_TOKENS = 512  #: every text is padded to this


@dataclass(kw_only=True, slots=True)
class WanSample(Sample):  # type: ignore[misc]
    """n samples, one after the other; one, until they are packed. Lengths and shapes are int32.

    Text is padded in the batch, not before: the packing buffer holds many samples.
    """

    video_latents: torch.Tensor  #: [S, C*4]
    context_embeddings: list[torch.Tensor]  #: n of [K_i, D], real tokens
    loss_mask: torch.Tensor  #: [S] bfloat16
    seq_len_q: torch.Tensor  #: [n]; their padded lengths add up to S
    seq_len_q_padded: torch.Tensor  #: [n]
    seq_len_kv: torch.Tensor  #: [n], each 512
    seq_len_kv_padded: torch.Tensor  #: [n]
    grid_sizes: torch.Tensor  #: [n, 3], patches by (frames, height, width)
    video_metadata: list[dict[str, Any]]  #: the JSON part of each


class WanTaskEncoder(BytesTaskEncoder):
    """Packs clips and images into sequences of at most ``seq_length`` tokens of 1 x 2 x 2 latents.

    What a training script writes::

        dataset = get_train_dataset(path, task_encoder=WanTaskEncoder(seq_length=32768),
        batch_size=1,
                                    packing_buffer_size=100, shuffle_buffer_size=1000,
                                    max_samples_per_sequence=100, worker_config=...)

    The batch is a dict: ``video_latents`` [S, 1, 64], ``context_embeddings`` [512 n, 1, 4096],
    ``loss_mask`` [S, 1] bfloat16, ``seq_len_q``, ``seq_len_q_padded``, ``seq_len_kv``,
    ``seq_len_kv_padded`` [n] int32, ``grid_sizes`` [n, 3] int32, ``video_metadata`` (n dicts). With
    a context parallel size c above 1 the lengths are padded to multiples of 2 c, as Transformer
    Engine asks. Without a ``packing_buffer_size`` a pack is one sample.

    Samples with NaN, Inf or more than 1e3 in magnitude are skipped, as by the trainer, and those
    longer than a pack, which it trains on. What it gets wrong is a ValueError with the sample's
    key: text [1, S, D], more than 512 tokens (it cuts them), other channels or widths, an odd
    latent size. Energon logs and skips these; ``reraise_exception`` stops.
    """

    def __init__(
        self,
        *,
        seq_length: int,
        channels: int = 16,
        text_width: int | None = 4096,
        context_parallel_size: int | None = None,
        filters: Filters = ALL,
        caption_dropout: float = 0.0,
        empty_caption: EmptyCaption | None = None,
        cookers: Sequence[Cooker] | None = None,
    ) -> None:
        """``channels`` is 48 for WAN 2.2's 5B model. A ``text_width`` of None takes any, a
        ``context_parallel_size`` of None is megatron-core's; ``caption_dropout`` and
        ``empty_caption`` are as for LatentTaskEncoder; ``cookers`` replace those that read
        ``target: wan``, ``target: generic`` and datasets that name no target.
        """
        super().__init__(make_dropout(caption_dropout, empty_caption))
        require_length("seq_length", seq_length)
        self.seq_length = seq_length
        self.channels = channels
        self.text_width = text_width
        self.context_parallel_size = context_parallel_size
        self.filters = filters
        self.cookers = trainer_cookers("wan") if cookers is None else cookers
        self.packing_buffer = PackingBuffer()

    @seeded
    def encode_sample(self, sample: LatentSample) -> WanSample:
        sample = prepare(sample, filters=self.filters, dropout=self.dropout, blend=self.blend)
        require_latent(sample, channels=self.channels)
        require_text(sample, width=self.text_width, max_tokens=MAX_TOKENS)
        multiple = parallel.length_multiple(self.context_parallel_size)
        _, frames, height, width = sample.latent.shape
        tokens = patchify(sample.latent)
        length, text_length = round_up(len(tokens), multiple), round_up(MAX_TOKENS, multiple)
        skip_too_long(length, self.seq_length, "seq_length")
        return WanSample.derive_from(  # type: ignore[no-any-return]
            sample,
            video_latents=pad_to(tokens, length),
            context_embeddings=[sample.text],
            loss_mask=ones_to(len(tokens), length),
            seq_len_q=counts(len(tokens)),
            seq_len_q_padded=counts(length),
            seq_len_kv=counts(MAX_TOKENS),
            seq_len_kv_padded=counts(text_length),
            grid_sizes=counts(frames, height // 2, width // 2)[None],
            video_metadata=[sample.metadata],
        )

    @seeded
    def select_samples_to_pack(self, samples: list[WanSample]) -> list[list[WanSample]]:
        lengths = [len(sample.video_latents) for sample in samples]
        return self.packing_buffer.pack(samples, lengths, self.seq_length)

    @stateless  # type: ignore[untyped-decorator]
    def pack_selected_samples(self, samples: list[WanSample]) -> WanSample:
        joined: WanSample = join(samples)
        return joined

    @stateless  # type: ignore[untyped-decorator]
    def batch(self, samples: list[WanSample]) -> dict[str, Any]:
        (sample,) = samples
        text = join_padded(sample.context_embeddings, sample.seq_len_kv_padded.tolist())
        return {
            "video_latents": sample.video_latents[:, None],
            "context_embeddings": text[:, None],
            "loss_mask": sample.loss_mask[:, None],
            "seq_len_q": sample.seq_len_q,
            "seq_len_q_padded": sample.seq_len_q_padded,
            "seq_len_kv": sample.seq_len_kv,
            "seq_len_kv_padded": sample.seq_len_kv_padded,
            "grid_sizes": sample.grid_sizes,
            "video_metadata": sample.video_metadata,
        }

    def build_batch(
        self,
        dataset: Any,
        *,
        batch_size: int | None,
        packing_buffer_size: int | None = None,
        **options: Any,
    ) -> Any:
        """Energon's, which ``get_train_dataset`` calls. Raises ValueError unless a batch is one
        pack.
        """
        require_one_pack(batch_size)
        self.packing_buffer.size = packing_buffer_size
        return super().build_batch(
            dataset, batch_size=batch_size, packing_buffer_size=packing_buffer_size, **options
        )
