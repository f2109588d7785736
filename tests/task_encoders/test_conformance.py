"""The batches of the trainers' own task encoders: the same keys, shapes and dtypes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from task_encoders import DiTTaskEncoder, FluxTaskEncoder, NeMoDiTTaskEncoder, WanTaskEncoder
from tests.datasets import write_samples
from tests.task_encoders.trainers import (
    CLIP,
    IMAGE,
    WIDE,
    described,
    numbers,
    open_loader,
    serialized,
    stored,
)

pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")

BF16, INT32, INT64 = torch.bfloat16, torch.int32, torch.int64
PACKING = {"packing_buffer_size": 3, "shuffle_buffer_size": None}

# A clip of 5 x 2 x 3 = 30 patches and images of 4 and 6; 40 tokens with the padding that an encoder
# adds.
SHAPES = [CLIP, IMAGE, WIDE]


def lengths(num: int, *names: str) -> dict[str, Any]:
    return dict.fromkeys(names, ((num,), INT32))


ALL_LENGTHS = ("seq_len_q", "seq_len_q_padded", "seq_len_kv", "seq_len_kv_padded")

CASES: dict[str, Any] = {
    "wan": (
        lambda: WanTaskEncoder(seq_length=40),
        PACKING,
        SHAPES,
        {
            "video_latents": ((40, 1, 64), BF16),
            "context_embeddings": ((3 * 512, 1, 4096), BF16),
            "loss_mask": ((40, 1), BF16),
            **lengths(3, *ALL_LENGTHS),
            "grid_sizes": ((3, 3), INT32),
            "video_metadata": list,
        },
    ),
    "flux": (
        FluxTaskEncoder,
        {"batch_size": 2},
        [WIDE, WIDE],
        {
            "latents": ((2, 16, 4, 6), BF16),
            "prompt_embeds": ((2, 512, 4096), BF16),
            "pooled_prompt_embeds": ((2, 768), BF16),
            "text_ids": ((2, 512, 3), BF16),
            "loss_mask": ((2, 6), BF16),
            **lengths(2, *ALL_LENGTHS),
            "latent_shape": ((2, 2), INT32),
            "image_metadata": list,
        },
    ),
    "dit": (
        lambda: DiTTaskEncoder(seq_length=3 * 64),
        PACKING,
        SHAPES,
        {
            "video": ((1, 3 * 64, 64), BF16),
            "context_embeddings": ((1, 3 * 64, 4096), BF16),
            "context_mask": ((1, 3 * 64), BF16),
            "loss_mask": ((1, 3 * 64), BF16),
            **lengths(3, *ALL_LENGTHS),
            "pos_ids": ((1, 3 * 64, 3), INT64),
            "latent_shape": ((3, 4), INT32),
            "video_metadata": list,
        },
    ),
    "nemo-dit": (
        lambda: NeMoDiTTaskEncoder(seq_length=48),
        {"batch_size": 3},
        SHAPES,
        {
            "video": ((3, 48, 64), BF16),
            "t5_text_embeddings": ((3, 512, 4096), BF16),
            "t5_text_mask": ((3, 512), BF16),
            "loss_mask": ((3, 48), BF16),
            "image_size": ((3, 1, 4), BF16),
            "fps": ((3, 1), BF16),
            "num_frames": ((3, 1), BF16),
            "pos_ids": ((3, 48, 3), INT64),
            **lengths(3, "seq_len_q", "seq_len_kv"),
            "latent_shape": ((3, 4), INT32),
        },
    ),
    "nemo-dit packed": (
        lambda: NeMoDiTTaskEncoder(max_seq_length=48),
        PACKING,
        SHAPES,
        {
            "video": ((1, 48, 64), BF16),
            "t5_text_embeddings": ((1, 3 * 512, 4096), BF16),
            "t5_text_mask": ((1, 3 * 512), BF16),
            "loss_mask": ((1, 48), BF16),
            "pos_ids": ((1, 48, 3), INT64),
            **lengths(3, "seq_len_q", "seq_len_kv"),
            "latent_shape": ((3, 4), INT32),
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_batch_is_the_trainers(tmp_path: Path, case: str) -> None:
    make_encoder, options, shapes, expected = CASES[case]
    target = case.partition(" ")[0]
    samples = [stored(target, serial, shape, width=4096) for serial, shape in enumerate(shapes)]
    for serial, parts in enumerate(samples):
        if target == "flux":
            parts["pickle"]["pooled_prompt_embeds"] = numbers(serial, 768)
    dataset_dir = write_samples(
        tmp_path / "dataset", [*map(serialized, samples)], subflavors={"target": target}
    )
    (batch,) = open_loader(dataset_dir, make_encoder(), repeat=False, **options)
    assert described(batch) == expected
