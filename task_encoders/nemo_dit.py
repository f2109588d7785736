"""LatentSample -> the batches of DiT in NeMo (``BasicDiffusionTaskEncoder``)."""

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
from task_encoders.filters import Filters
from task_encoders.packing import PackingBuffer, join, require_length, require_packing
from task_encoders.prepare import prepare
from task_encoders.sequences import (
    counts,
    grid_positions,
    join_texts,
    ones_to,
    pad_to,
    patchify,
    stack_padded,
)
from task_encoders.skips import skip_too_long

IMAGE_FPS = 30.0  #: what NeMo says of an image
SCORED = Filters(min_aesthetic_score=0.0)  #: NeMo's default: all with a score of at least this


@dataclass(kw_only=True, slots=True)
class NeMoDiTSample(Sample):  # type: ignore[misc]
    """n samples, one after the other; one, until they are packed. Lengths and shapes are int32.

    Text is padded in the batch, not before: the packing buffer holds many samples.
    """

    video: torch.Tensor  #: [S, C*4]
    t5_text_embeddings: list[torch.Tensor]  #: n of [K_i, D] bfloat16, real tokens
    loss_mask: torch.Tensor  #: [S] bfloat16, one where there is a patch
    image_size: torch.Tensor  #: [n, 4] bfloat16: height, width, height, width in pixels
    fps: torch.Tensor  #: [n] bfloat16
    num_frames: torch.Tensor  #: [n] bfloat16
    pos_ids: torch.Tensor  #: [S, 3] int64: (t, h, w) in patches, zero in padding
    seq_len_q: torch.Tensor  #: [n], without padding
    seq_len_kv: torch.Tensor  #: [n], each 512
    latent_shape: torch.Tensor  #: [n, 4]: C, T, H, W
    packed: bool = False


class NeMoDiTTaskEncoder(BytesTaskEncoder):
    """Packs clips and images into sequences of ``max_seq_length`` tokens, or stacks them, padded to
    ``seq_length``.

    What a training script writes::

        dataset = get_train_dataset(path, task_encoder=NeMoDiTTaskEncoder(max_seq_length=8192),
        batch_size=1,
                                    packing_buffer_size=100, shuffle_buffer_size=1000,
                                    max_samples_per_sequence=100, worker_config=...)

    The batch is a dict. Packed: ``video`` [1, S, 64], ``t5_text_embeddings`` [1, 512 n, D] and
    ``t5_text_mask`` [1, 512 n] bfloat16, ``loss_mask`` [1, S] bfloat16, ``pos_ids`` [1, S, 3]
    int64, ``seq_len_q``, ``seq_len_kv`` [n] int32, ``latent_shape`` [n, 4] int32; S is
    ``max_seq_length``. Otherwise the samples lie along the first dimension, the lengths are [B],
    and there are ``image_size`` [B, 1, 4], ``fps`` and ``num_frames`` [B, 1] in bfloat16; S is
    ``seq_length`` or, without one, the common length of the batch's samples.

    ``t5_text_mask`` has a one for each real token and the length of the padded text; NeMo's own has
    as many ones as the text had tokens and no zeros, so that its length differs from the text's.

    Skipped, as by NeMo: samples with NaN, Inf or more than 1e3 in magnitude, a score below
    ``filters``', or too many tokens. What it gets wrong is a ValueError with the sample's key: text
    [1, S, D], a latent that is no whole number of patches, a JSON without score
    (``filters=Filters()`` takes it), size or frame rate.
    """

    def __init__(
        self,
        *,
        seq_length: int | None = None,
        max_seq_length: int | None = None,
        text_embedding_padding_size: int = 512,
        patch_spatial: int = 2,
        patch_temporal: int = 1,
        context_parallel_size: int | None = None,
        filters: Filters = SCORED,
        caption_dropout: float = 0.0,
        empty_caption: EmptyCaption | None = None,
        cookers: Sequence[Cooker] | None = None,
    ) -> None:
        """``max_seq_length`` is for packing, ``seq_length`` for stacking; longer texts than
        ``text_embedding_padding_size`` are cut. The rest is as for WanTaskEncoder."""
        super().__init__(make_dropout(caption_dropout, empty_caption))
        require_length("seq_length", seq_length)
        require_length("max_seq_length", max_seq_length)
        self.seq_length = seq_length
        self.max_seq_length = max_seq_length
        self.text_embedding_padding_size = text_embedding_padding_size
        self.patch_spatial = patch_spatial
        self.patch_temporal = patch_temporal
        self.context_parallel_size = context_parallel_size
        self.filters = filters
        self.cookers = trainer_cookers("nemo-dit") if cookers is None else cookers
        self.packing_buffer = PackingBuffer()

    @seeded
    def encode_sample(self, sample: LatentSample) -> NeMoDiTSample:
        sample = prepare(sample, filters=self.filters, dropout=self.dropout, blend=self.blend)
        require_latent(sample, patch=(self.patch_spatial, self.patch_temporal))
        require_text(sample)
        tokens = patchify(sample.latent, spatial=self.patch_spatial, temporal=self.patch_temporal)
        for name in ("seq_length", "max_seq_length"):
            if getattr(self, name) is not None:
                skip_too_long(len(tokens), getattr(self, name), name)
        length = (
            self.seq_length
            if self.seq_length is not None and self.max_seq_length is None
            else len(tokens)
        )
        text_length = self.text_embedding_padding_size
        text = sample.text[:text_length].to(torch.bfloat16)
        _, frames, height, width = sample.latent.shape
        positions = grid_positions(
            frames // self.patch_temporal, height // self.patch_spatial, width // self.patch_spatial
        )
        size, fps, num_frames = _pixels(sample)
        return NeMoDiTSample.derive_from(  # type: ignore[no-any-return]
            sample,
            video=pad_to(tokens, length),
            t5_text_embeddings=[text],
            loss_mask=ones_to(len(tokens), length),
            image_size=torch.tensor([[*size, *size]], dtype=torch.bfloat16),
            fps=torch.tensor([fps], dtype=torch.bfloat16),
            num_frames=torch.tensor([num_frames], dtype=torch.bfloat16),
            pos_ids=pad_to(positions, length),
            seq_len_q=counts(len(tokens)),
            seq_len_kv=counts(text_length),
            latent_shape=counts(*sample.latent.shape)[None],
        )

    @seeded
    def select_samples_to_pack(self, samples: list[NeMoDiTSample]) -> list[list[NeMoDiTSample]]:
        assert self.max_seq_length is not None  # build_batch has seen to that
        lengths = [len(sample.video) for sample in samples]
        return self.packing_buffer.pack(samples, lengths, self.max_seq_length)

    @stateless  # type: ignore[untyped-decorator]
    def pack_selected_samples(self, samples: list[NeMoDiTSample]) -> NeMoDiTSample:
        assert self.max_seq_length is not None
        joined: NeMoDiTSample = join(samples, packed=True)
        for name in ("video", "loss_mask", "pos_ids"):
            setattr(joined, name, pad_to(getattr(joined, name), self.max_seq_length))
        return joined

    def batch_group_criterion(self, sample: NeMoDiTSample) -> tuple[tuple[int, ...] | None, None]:
        """The shape of the sequence, if it is not a pack."""
        return None if sample.packed else tuple(sample.video.shape), None

    @stateless  # type: ignore[untyped-decorator]
    def batch(self, samples: list[NeMoDiTSample]) -> dict[str, Any]:
        texts = [
            join_texts(sample.t5_text_embeddings, sample.seq_len_kv.tolist()) for sample in samples
        ]
        batch = {
            "video": stack_padded([sample.video for sample in samples]),
            "t5_text_embeddings": stack_padded([text for text, _ in texts]),
            "t5_text_mask": stack_padded([mask for _, mask in texts]),
        }
        rows = ["loss_mask", "pos_ids"]
        if not samples[0].packed:
            rows += ["image_size", "fps", "num_frames"]
        for name in rows:
            batch[name] = stack_padded([getattr(sample, name) for sample in samples])
        for name in ("seq_len_q", "seq_len_kv", "latent_shape"):
            batch[name] = torch.cat([getattr(sample, name) for sample in samples])
        return batch

    def build_batch(
        self,
        dataset: Any,
        *,
        batch_size: int | None,
        packing_buffer_size: int | None = None,
        **options: Any,
    ) -> Any:
        """Energon's, which ``get_train_dataset`` calls. Raises ValueError for lengths that do not
        go together.
        """
        require_packing(
            "max_seq_length",
            self.max_seq_length,
            batch_size=batch_size,
            packing_buffer_size=packing_buffer_size,
        )
        length = self.max_seq_length if self.max_seq_length is not None else self.seq_length
        parallel_size = self.context_parallel_size or parallel.context_parallel_size()
        if length is not None and length % parallel_size:
            raise ValueError(
                f"sequences of {length} tokens cannot be split over {parallel_size} devices"
            )
        self.packing_buffer.size = packing_buffer_size
        return super().build_batch(
            dataset, batch_size=batch_size, packing_buffer_size=packing_buffer_size, **options
        )


def _pixels(sample: LatentSample) -> tuple[tuple[float, float], float, float]:
    """(height, width), frames per second and number of frames of what was encoded, from the JSON.
    Raises ValueError.
    """
    is_image = sample.latent.shape[1] == 1
    names = (
        ("image_height", "image_width")
        if is_image
        else ("height", "width", "framerate", "num_frames")
    )
    missing = [name for name in names if not isinstance(sample.metadata.get(name), (int, float))]
    if missing:
        what = "an image" if is_image else "a video"
        raise ValueError(
            f"sample {sample.__key__}: the JSON of {what} without a number {missing[0]!r}"
        )
    values = [float(sample.metadata[name]) for name in names]
    return (values[0], values[1]), *((IMAGE_FPS, 1.0) if is_image else (values[2], values[3]))
