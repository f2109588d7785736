from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from megatron.energon import SkipSample

from task_encoders import Filters, NeMoDiTTaskEncoder
from tests.task_encoders.trainers import (
    CLIP,
    IMAGE,
    WIDE,
    encode,
    json_part,
    open_loader,
    sample,
    write_target,
)


def nemo(**options: Any) -> NeMoDiTTaskEncoder:
    return NeMoDiTTaskEncoder(**{"context_parallel_size": 1, **options})


def without(name: str, shape: Any) -> dict[str, Any]:
    metadata = json_part(1, shape)
    del metadata[name]
    return {"shape": shape, "metadata": metadata}


def test_stacking_pads_to_seq_length() -> None:
    encoder = nemo(seq_length=40)
    batch = encoder.batch(
        [encode(encoder, sample(CLIP)), encode(encoder, sample(IMAGE, tokens=600))]
    )
    assert batch["video"].shape == (2, 40, 64)
    assert batch["loss_mask"].sum(1).tolist() == batch["seq_len_q"].tolist() == [30, 4]
    assert batch["seq_len_kv"].tolist() == [512, 512]
    assert batch["latent_shape"].tolist() == [list(CLIP), list(IMAGE)]
    assert batch["t5_text_mask"].sum(1).tolist() == [3, 512]  # of real tokens
    assert torch.equal(batch["t5_text_embeddings"][1], sample(tokens=600).text[:512])  # cut
    assert not batch["t5_text_embeddings"][0, 3:].any()
    assert batch["image_size"].tolist() == [[[32, 48, 32, 48]], [[32, 32, 32, 32]]]
    assert batch["fps"].tolist() == [[8], [30]]
    assert batch["num_frames"].tolist() == [[17], [1]]
    assert batch["pos_ids"][0, 29].tolist() == [4, 1, 2]
    assert not batch["pos_ids"][1, 4:].any()
    assert not batch["video"][1, 4:].any()


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")
def test_without_any_length_a_batch_has_one_length(tmp_path: Path) -> None:
    dataset_dir = write_target(tmp_path / "dataset", "nemo-dit", [IMAGE, CLIP] * 2)
    # so that two of a kind never follow each other
    options = {"batch_size": 2, "shuffle_buffer_size": None}
    batches = list(open_loader(dataset_dir, nemo(), repeat=False, **options))
    assert sorted(tuple(batch["video"].shape) for batch in batches) == [(2, 4, 64), (2, 30, 64)]
    assert all(batch["loss_mask"].all() for batch in batches)


def test_packing_pads_to_max_seq_length() -> None:
    encoder = nemo(max_seq_length=40)
    samples = [encode(encoder, sample(shape)) for shape in (CLIP, IMAGE)]
    batch = encoder.batch([encoder.pack_selected_samples(samples)])
    assert batch["video"].shape == (1, 40, 64)
    assert batch["loss_mask"][0].tolist() == [1.0] * 34 + [0.0] * 6
    assert batch["seq_len_q"].tolist() == [30, 4]
    assert batch["t5_text_mask"][0].nonzero().flatten().tolist() == [0, 1, 2, 512, 513, 514]
    assert batch["pos_ids"][0, 30:34].tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1]]
    assert torch.equal(batch["video"][0, :30], samples[0].video)


def test_packs_hold_max_seq_length_tokens_at_most() -> None:
    encoder = nemo(max_seq_length=34)
    samples = [encode(encoder, sample(shape)) for shape in (IMAGE, CLIP, WIDE)]
    packs = type(encoder).select_samples_to_pack.__wrapped__(encoder, samples)
    assert sorted(sorted(len(item.video) for item in items) for items in packs) == [[4, 30], [6]]


@pytest.mark.parametrize(
    ("options", "metadata"),
    [
        ({"seq_length": 29}, {}),
        ({"max_seq_length": 29}, {}),
        ({}, {"aesthetic_score": -1.0}),
        ({"filters": Filters(min_aesthetic_score=5.5)}, {"aesthetic_score": 5.0}),
    ],
)
def test_what_nemo_skips(options: Any, metadata: Any) -> None:
    with pytest.raises(SkipSample):
        encode(nemo(**options), sample(CLIP, metadata=json_part(1, CLIP, **metadata)))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (without("aesthetic_score", IMAGE), "sample a: its JSON tells no score"),
        (
            without("image_width", IMAGE),
            "sample a: the JSON of an image without a number 'image_width'",
        ),
        (without("framerate", CLIP), "sample a: the JSON of a video without a number 'framerate'"),
        ({"shape": (16, 1, 3, 4)}, r"sample a: a latent \[16, 1, 3, 4\].* patches"),
    ],
)
def test_what_nemo_gets_wrong_is_an_error(fault: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode(nemo(), sample(**fault))


def test_samples_without_a_score_can_be_asked_for() -> None:
    encode(nemo(filters=Filters()), sample(**without("aesthetic_score", IMAGE)))


@pytest.mark.parametrize(
    ("options", "batch_size", "packing", "message"),
    [
        (
            {"max_seq_length": 64},
            1,
            None,
            "max_seq_length=64 and packing_buffer_size=None: packing needs both",
        ),
        ({}, 1, 8, "max_seq_length=None and packing_buffer_size=8"),
        ({"max_seq_length": 64}, 2, 8, "batch_size=2: a batch is one pack"),
        (
            {"seq_length": 65, "context_parallel_size": 2},
            2,
            None,
            "65 tokens cannot be split over 2 devices",
        ),
    ],
)
def test_lengths_that_do_not_go_together(
    options: Any, batch_size: int, packing: int | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        nemo(**options).build_batch(None, batch_size=batch_size, packing_buffer_size=packing)
