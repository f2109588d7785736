"""LatentSample -> the batches of FLUX in Megatron-Bridge and DFM (``FluxTaskEncoder``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from megatron.energon import Cooker, Sample, stateless

from cookers import LatentSample, trainer_cookers
from task_encoders import parallel
from task_encoders.base import BytesTaskEncoder
from task_encoders.by_tokens import require_max_tokens, require_one_size, samples_of
from task_encoders.captions import EmptyCaption, make_dropout
from task_encoders.checks import require_latent, require_text
from task_encoders.draws import seeded
from task_encoders.filters import ALL, Filters
from task_encoders.prepare import prepare
from task_encoders.sequences import counts, ones_to, pad_to, round_up

MAX_TOKENS = 512  #: every text is cut or padded to this


@dataclass(kw_only=True, slots=True)
class FluxSample(Sample):  # type: ignore[misc]
    """One image, as it is stacked."""

    latents: torch.Tensor  #: [C, H, W]
    prompt_embeds: torch.Tensor  #: [K, D]
    pooled_prompt_embeds: torch.Tensor  #: [D']
    text_ids: torch.Tensor  #: [K, 3] bfloat16
    loss_mask: torch.Tensor  #: [P] bfloat16, one for each patch of 2 x 2
    seq_len_q: torch.Tensor  #: int32, as all lengths; what of P is no padding
    seq_len_q_padded: torch.Tensor
    seq_len_kv: torch.Tensor
    seq_len_kv_padded: torch.Tensor
    latent_shape: torch.Tensor  #: [2] int32: H, W
    image_metadata: dict[str, Any]  #: the JSON part


class FluxTaskEncoder(BytesTaskEncoder):
    """Stacks images of one size: batches never mix sizes, which the trainer could not stack.

    What a training script writes::

        dataset = get_train_dataset(path, task_encoder=FluxTaskEncoder(), batch_size=8,
        shuffle_buffer_size=1000,
                                    max_samples_per_sequence=100, worker_config=...)

    The batch is a dict: ``latents`` [B, 16, H, W], ``prompt_embeds`` [B, 512, 4096] (cut or
    zero-padded), ``pooled_prompt_embeds`` [B, 768], ``text_ids`` [B, 512, 3] bfloat16 (column 0 is
    the position), ``loss_mask`` [B, H/2 * W/2] bfloat16, ``seq_len_q``, ``seq_len_q_padded``,
    ``seq_len_kv``, ``seq_len_kv_padded`` [B] int32, ``latent_shape`` [B, 2] int32,
    ``image_metadata`` (B dicts). With a context parallel size c above 1 text and mask are padded to
    multiples of 2 c. There is no packing: the trainer's own concatenates channels.

    Besides its own datasets it reads those of Primus and MLPerf. Samples with NaN, Inf or more than
    1e3 in magnitude are skipped, as by the trainer. What it gets wrong is a ValueError with the
    sample's key: text [1, S, D], pooled embeddings that are missing (it takes zeros), an odd latent
    size, other channels or widths, more than one frame.
    """

    def __init__(
        self,
        *,
        channels: int = 16,
        text_width: int | None = 4096,
        pooled_width: int | None = 768,
        text_positions: bool = True,
        context_parallel_size: int | None = None,
        filters: Filters = ALL,
        caption_dropout: float = 0.0,
        empty_caption: EmptyCaption | None = None,
        cookers: Sequence[Cooker] | None = None,
        max_tokens: int | None = None,
    ) -> None:
        """A width of None takes any, a ``context_parallel_size`` of None is megatron-core's.
        ``text_positions=False`` makes ``text_ids`` zero, as FLUX.1 was trained and as the trainers'
        own inference has them; the positions they train with are exact up to 256, in bfloat16.
        ``max_tokens``: batches of as many images as have that many tokens, patches and text,
        instead of ``batch_size`` images. The rest is as for WanTaskEncoder.
        """
        super().__init__(make_dropout(caption_dropout, empty_caption))
        require_max_tokens(max_tokens)
        self.max_tokens = max_tokens
        self.channels = channels
        self.text_width = text_width
        self.pooled_width = pooled_width
        self.text_positions = text_positions
        self.context_parallel_size = context_parallel_size
        self.filters = filters
        self.cookers = trainer_cookers("flux") if cookers is None else cookers

    @seeded
    def encode_sample(self, sample: LatentSample) -> FluxSample:
        sample = prepare(sample, filters=self.filters, dropout=self.dropout, blend=self.blend)
        pooled = self._checked(sample)
        multiple = parallel.length_multiple(self.context_parallel_size)
        _, _, height, width = sample.latent.shape
        patches = (height // 2) * (width // 2)
        length, text_length = round_up(patches, multiple), round_up(MAX_TOKENS, multiple)
        text_ids = torch.zeros(text_length, 3, dtype=torch.bfloat16)
        if self.text_positions:
            text_ids[:, 0] = torch.arange(text_length)
        return FluxSample.derive_from(  # type: ignore[no-any-return]
            sample,
            latents=sample.latent[:, 0],
            prompt_embeds=pad_to(sample.text[:MAX_TOKENS], text_length),
            pooled_prompt_embeds=pooled,
            text_ids=text_ids,
            loss_mask=ones_to(patches, length),
            seq_len_q=counts(patches)[0],
            seq_len_q_padded=counts(length)[0],
            seq_len_kv=counts(MAX_TOKENS)[0],
            seq_len_kv_padded=counts(text_length)[0],
            latent_shape=counts(height, width),
            image_metadata=sample.metadata,
        )

    def batch_group_criterion(self, sample: FluxSample) -> tuple[tuple[int, ...], int | None]:
        """The latent's shape, and the images of it in a batch: None for the batch size that was
        given to ``get_train_dataset``.
        """
        num_tokens = len(sample.loss_mask) + len(sample.prompt_embeds)
        return tuple(sample.latents.shape), samples_of(num_tokens, self.max_tokens)

    @stateless  # type: ignore[untyped-decorator]
    def batch(self, samples: list[FluxSample]) -> dict[str, Any]:
        stacked = (
            "latents",
            "prompt_embeds",
            "pooled_prompt_embeds",
            "text_ids",
            "loss_mask",
            "seq_len_q",
            "seq_len_q_padded",
            "seq_len_kv",
            "seq_len_kv_padded",
            "latent_shape",
        )
        tensors = {
            name: torch.stack([getattr(sample, name) for sample in samples]) for name in stacked
        }
        return {**tensors, "image_metadata": [sample.image_metadata for sample in samples]}

    def build_batch(
        self,
        dataset: Any,
        *,
        batch_size: int | None = None,
        packing_buffer_size: int | None = None,
        **options: Any,
    ) -> Any:
        """Energon's, which ``get_train_dataset`` calls. Raises ValueError for packing, and unless
        either ``batch_size`` or ``max_tokens`` is given.
        """
        if packing_buffer_size is not None:
            raise ValueError(
                f"packing_buffer_size={packing_buffer_size}: FLUX batches are not packed, "
                "leave it out and raise batch_size"
            )
        require_one_size(batch_size, self.max_tokens)
        return super().build_batch(
            dataset, batch_size=batch_size, packing_buffer_size=None, **options
        )

    def _checked(self, sample: LatentSample) -> torch.Tensor:
        """The pooled embeddings of a sample that FLUX can be trained on. Raises ValueError."""
        require_latent(sample, channels=self.channels)
        require_text(sample, width=self.text_width)
        if sample.latent.shape[1] != 1:
            raise ValueError(
                f"sample {sample.__key__}: a clip of {sample.latent.shape[1]} latent frames, "
                "not an image"
            )
        if sample.pooled is None:
            raise ValueError(
                f"sample {sample.__key__}: no pooled embeddings, which FLUX has of CLIP"
            )
        if self.pooled_width not in (None, len(sample.pooled)):
            raise ValueError(
                f"sample {sample.__key__}: pooled embeddings of width {len(sample.pooled)}, "
                f"not {self.pooled_width}"
            )
        return sample.pooled
