from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from task_encoders import FluxTaskEncoder
from tests.task_encoders.trainers import (
    CLIP,
    IMAGE,
    POOLED_WIDTH,
    WIDE,
    WIDTH,
    encode,
    numbers,
    open_loader,
    sample,
    write_target,
)

POOLED = numbers(2, POOLED_WIDTH)


def flux(**options: Any) -> FluxTaskEncoder:
    widths = {"text_width": WIDTH, "pooled_width": POOLED_WIDTH}
    return FluxTaskEncoder(**{**widths, "context_parallel_size": 1, **options})


def batched(encoder: FluxTaskEncoder, *samples: dict[str, Any]) -> dict[str, Any]:
    return encoder.batch(
        [encode(encoder, sample(**{"pooled": POOLED, **fields})) for fields in samples]
    )


def test_what_is_in_a_batch() -> None:
    batch = batched(flux(), {"shape": WIDE}, {"shape": WIDE, "tokens": 600})
    assert torch.equal(batch["latents"][1], sample(WIDE).latent[:, 0])
    assert torch.equal(batch["prompt_embeds"][0, :3], sample().text)
    assert not batch["prompt_embeds"][0, 3:].any()
    assert torch.equal(batch["prompt_embeds"][1], sample(tokens=600).text[:512])  # cut
    assert torch.equal(batch["pooled_prompt_embeds"][0], POOLED)
    assert batch["text_ids"][0, :300, 0].tolist()[:5] == [0, 1, 2, 3, 4]
    assert not batch["text_ids"][..., 1:].any()
    assert batch["latent_shape"].tolist() == [[4, 6]] * 2
    assert batch["seq_len_q"].tolist() == batch["seq_len_q_padded"].tolist() == [6, 6]
    assert batch["seq_len_kv"].tolist() == batch["seq_len_kv_padded"].tolist() == [512, 512]
    assert batch["loss_mask"].tolist() == [[1.0] * 6] * 2
    assert batch["image_metadata"][0]["key"] == "000000001"


def test_text_ids_may_be_zero_as_flux_was_trained() -> None:
    assert not batched(flux(text_positions=False), {})["text_ids"].any()


def test_context_parallel_padding_of_mask_and_text() -> None:
    batch = batched(flux(context_parallel_size=3), {})
    assert batch["loss_mask"].tolist() == [[1.0] * 4 + [0.0] * 2]
    assert batch["latents"].shape == (1, 16, 4, 4)
    assert batch["prompt_embeds"].shape[1] == batch["text_ids"].shape[1] == 516
    assert [
        batch[name].item() for name in ("seq_len_q", "seq_len_q_padded", "seq_len_kv_padded")
    ] == [4, 6, 516]


@pytest.mark.parametrize(
    ("options", "fault", "message"),
    [
        ({}, {"shape": (16, 1, 5, 4)}, r"sample a: a latent \[16, 1, 5, 4\].* patches"),
        ({}, {"shape": CLIP}, r"sample a: a clip of 5 latent frames, not an image"),
        ({}, {"shape": (32, 1, 4, 4)}, r"sample a: .* 32 channels, not 16"),
        ({}, {"pooled": None}, r"sample a: no pooled embeddings"),
        ({"pooled_width": 768}, {}, r"sample a: pooled embeddings of width 6, not 768"),
        ({"text_width": 4096}, {}, r"sample a: text embeddings of width 8, not 4096"),
    ],
)
def test_what_the_trainer_gets_wrong_is_an_error(options: Any, fault: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batched(flux(**options), fault)


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")
def test_sizes_do_not_mix_in_a_batch(tmp_path: Path) -> None:
    dataset_dir = write_target(tmp_path / "dataset", "flux", [IMAGE, WIDE] * 4)
    batches = list(open_loader(dataset_dir, flux(), repeat=False, batch_size=4))
    assert sorted(tuple(batch["latents"].shape) for batch in batches) == [
        (4, 16, 4, 4),
        (4, 16, 4, 6),
    ]


def test_there_is_no_packing() -> None:
    with pytest.raises(ValueError, match="packing_buffer_size=4: FLUX batches are not packed"):
        flux().build_batch(None, batch_size=1, packing_buffer_size=4)
