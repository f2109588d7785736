from __future__ import annotations

from typing import Any

import pytest
import torch
from megatron.energon import SkipSample

from task_encoders import WanTaskEncoder
from tests.task_encoders.trainers import CLIP, IMAGE, WIDE, WIDTH, encode, sample


def wan(**options: Any) -> WanTaskEncoder:
    return WanTaskEncoder(
        **{"seq_length": 64, "text_width": WIDTH, "context_parallel_size": 1, **options}
    )


def packed(encoder: WanTaskEncoder, *shapes: tuple[int, ...]) -> dict[str, Any]:
    return encoder.batch(
        [encoder.pack_selected_samples([encode(encoder, sample(shape)) for shape in shapes])]
    )


def unpatchify(tokens: torch.Tensor, grid: list[int]) -> torch.Tensor:
    """[F*H*W, 4 C] -> [C, F, 2 H, 2 W], as WAN's model puts its output together."""
    frames, height, width = grid
    patches = tokens.view(frames, height, width, 1, 2, 2, -1)
    return torch.einsum("fhwpqrc->cfphqwr", patches).reshape(-1, frames, height * 2, width * 2)


def test_what_is_in_a_pack() -> None:
    batch = packed(wan(), CLIP, IMAGE)
    assert batch["grid_sizes"].tolist() == [[5, 2, 3], [1, 2, 2]]
    assert batch["seq_len_q"].tolist() == batch["seq_len_q_padded"].tolist() == [30, 4]
    assert batch["seq_len_kv"].tolist() == batch["seq_len_kv_padded"].tolist() == [512, 512]
    assert batch["loss_mask"].sum() == 34
    clip, image = batch["video_latents"][:, 0].split([30, 4])
    assert torch.equal(unpatchify(clip, [5, 2, 3]), sample(CLIP).latent)
    assert torch.equal(unpatchify(image, [1, 2, 2]), sample(IMAGE).latent)
    text = batch["context_embeddings"][512:, 0]
    assert torch.equal(text[:3], sample(IMAGE).text)
    assert not text[3:].any()
    assert batch["video_metadata"] == [sample(CLIP).metadata, sample(IMAGE).metadata]


@pytest.mark.parametrize(
    ("size", "lengths", "text_length"), [(2, [32, 4, 8], 512), (3, [30, 6, 6], 516)]
)
def test_context_parallel_padding_of_video_and_text(
    size: int, lengths: list[int], text_length: int
) -> None:
    batch = packed(wan(context_parallel_size=size), CLIP, IMAGE, WIDE)
    assert batch["seq_len_q"].tolist() == [30, 4, 6]
    assert batch["seq_len_q_padded"].tolist() == lengths
    # also where the video needs none
    assert batch["seq_len_kv_padded"].tolist() == [text_length] * 3
    assert len(batch["video_latents"]) == len(batch["loss_mask"]) == sum(lengths)
    assert len(batch["context_embeddings"]) == 3 * text_length
    padding = batch["loss_mask"][:, 0] == 0
    assert padding.sum() == sum(lengths) - 40
    assert not batch["video_latents"][padding].any()


def test_packs_hold_seq_length_tokens_at_most() -> None:
    encoder = wan(seq_length=40)
    samples = [encode(encoder, sample(shape)) for shape in (IMAGE, CLIP, WIDE, CLIP, IMAGE)]
    packs = type(encoder).select_samples_to_pack.__wrapped__(encoder, samples)
    assert sorted(sorted(len(item.video_latents) for item in items) for items in packs) == [
        [4, 6, 30],
        [4, 30],
    ]


@pytest.mark.parametrize(
    ("options", "fault", "message"),
    [
        (
            {},
            {"shape": (16, 1, 4, 5)},
            r"sample a: a latent \[16, 1, 4, 5\].* patches of 1 x 2 x 2",
        ),
        ({}, {"shape": (32, 1, 4, 4)}, r"sample a: .* 32 channels, not 16; if these are moments"),
        ({}, {"shape": (4, 1, 4, 4)}, r"sample a: .* 4 channels, not 16$"),
        ({}, {"tokens": 513}, r"sample a: a text of 513 tokens, more than 512"),
        ({"text_width": 4096}, {}, r"sample a: text embeddings of width 8, not 4096"),
        ({}, {"text": torch.full((2, WIDTH), torch.nan)}, r"sample a: text embeddings with NaN"),
    ],
)
def test_what_the_trainer_gets_wrong_is_an_error(options: Any, fault: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode(wan(**options), sample(**fault))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1008.0])
def test_what_the_trainer_skips(value: float) -> None:
    latent = sample().latent
    latent[0, 0, 0, 1] = value
    with pytest.raises(SkipSample, match=r"NaN or Inf|above 1000 in magnitude"):
        encode(wan(), sample(latent=latent))


@pytest.mark.parametrize(("seq_length", "parallel"), [(29, 1), (31, 2)])
def test_what_no_pack_holds_is_skipped(seq_length: int, parallel: int) -> None:
    with pytest.raises(SkipSample, match=f"longer than seq_length={seq_length} tokens"):
        encode(wan(seq_length=seq_length, context_parallel_size=parallel), sample(CLIP))


def test_a_pack_has_a_length() -> None:
    with pytest.raises(ValueError, match="seq_length=-5: give a number of tokens"):
        wan(seq_length=-5)


def test_a_batch_is_one_pack() -> None:
    with pytest.raises(ValueError, match="batch_size=2: a batch is one pack"):
        wan().build_batch(None, batch_size=2, packing_buffer_size=4)
