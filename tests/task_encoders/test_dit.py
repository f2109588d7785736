from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from megatron.energon import SkipSample

from task_encoders import DiTTaskEncoder
from tests.task_encoders.trainers import (
    CLIP,
    IMAGE,
    WIDE,
    encode,
    open_loader,
    sample,
    write_target,
)


def dit(**options: Any) -> DiTTaskEncoder:
    sizes = {"context_parallel_size": 1, "tensor_parallel_size": 1}
    return DiTTaskEncoder(**{"seq_length": 256, **sizes, **options})


def test_what_is_in_a_pack() -> None:
    encoder = dit()
    samples = [encode(encoder, sample(CLIP, tokens=65)), encode(encoder, sample(IMAGE))]
    batch = encoder.batch([encoder.pack_selected_samples(samples)])
    assert batch["seq_len_q"].tolist() == [30, 4]
    assert batch["seq_len_q_padded"].tolist() == [64, 64]
    assert batch["seq_len_kv"].tolist() == [65, 3]
    assert batch["seq_len_kv_padded"].tolist() == [128, 64]
    assert batch["latent_shape"].tolist() == [list(CLIP), list(IMAGE)]
    assert batch["video"].shape == (1, 128, 64)
    for name, real in (
        ("loss_mask", [*range(30), *range(64, 68)]),
        ("context_mask", [*range(65), *range(128, 131)]),
    ):
        assert batch[name][0].nonzero().flatten().tolist() == real
    assert torch.equal(batch["context_embeddings"][0, 128:131], sample().text)
    assert not batch["context_embeddings"][0, 131:].any()
    assert batch["pos_ids"][0, 64:68].tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1]]
    assert batch["pos_ids"][0, 29].tolist() == [4, 1, 2]
    assert not batch["pos_ids"][0, 68:].any()
    assert batch["video_metadata"] == [sample(CLIP).metadata, sample(IMAGE).metadata]


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")
def test_without_packing_a_batch_has_one_length(tmp_path: Path) -> None:
    large = (16, 5, 8, 8)
    dataset_dir = write_target(tmp_path / "dataset", "dit", [IMAGE, large] * 2, tokens=70)
    # so that two of a kind never follow each other
    options = {"batch_size": 2, "shuffle_buffer_size": None}
    batches = list(open_loader(dataset_dir, dit(seq_length=None), repeat=False, **options))
    assert sorted(tuple(batch["video"].shape) for batch in batches) == [(2, 64, 64), (2, 128, 64)]
    for batch in batches:
        assert batch["context_embeddings"].shape == (2, 128, 8)
        assert batch["seq_len_kv"].tolist() == [70, 70]
        assert batch["latent_shape"].shape == (2, 4)


@pytest.mark.parametrize(
    ("options", "shape", "reason"),
    [
        ({"seq_length": 63}, IMAGE, "longer than seq_length=63 tokens"),
        ({"tensor_parallel_size": 3}, IMAGE, "of a size that 3 devices do not divide"),
        ({"context_parallel_size": 3}, IMAGE, "of a size that 6 devices"),
        ({"tensor_parallel_size": 4, "context_parallel_size": 4}, WIDE, "that 32 devices"),
    ],
)
def test_what_the_trainer_skips(options: Any, shape: Any, reason: str) -> None:
    with pytest.raises(SkipSample, match=reason):
        encode(dit(**options), sample(shape))


def test_what_fits_is_not_skipped() -> None:
    # 16 = 2 * 2 * 4
    encode(dit(tensor_parallel_size=2, context_parallel_size=4, seq_length=64), sample(IMAGE))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"tokens": 513}, r"sample a: a text of 513 tokens, more than 512"),
        ({"shape": (16, 1, 3, 4)}, r"sample a: a latent \[16, 1, 3, 4\].* patches of 1 x 2 x 2"),
    ],
)
def test_what_the_trainer_gets_wrong_is_an_error(fault: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode(dit(), sample(**fault))


def test_packing_needs_a_length_and_one_pack_a_batch() -> None:
    with pytest.raises(ValueError, match="seq_length=None and packing_buffer_size=4"):
        dit(seq_length=None).build_batch(None, batch_size=1, packing_buffer_size=4)
    with pytest.raises(ValueError, match="batch_size=2: a batch is one pack"):
        dit().build_batch(None, batch_size=2, packing_buffer_size=4)
    with pytest.raises(ValueError, match="seq_length=256 and packing_buffer_size=None"):
        dit().build_batch(None, batch_size=1)
    with pytest.raises(ValueError, match="seq_length=0: give a number of tokens"):
        dit(seq_length=0)
