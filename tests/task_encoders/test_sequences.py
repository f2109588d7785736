from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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

few = st.integers(1, 4)


@settings(deadline=None)  # the first call loads what torch needs
@given(channels=few, frames=few, height=few, width=few, spatial=few, temporal=few)
def test_patchify_and_back(
    channels: int, frames: int, height: int, width: int, spatial: int, temporal: int
) -> None:
    """'(T H W) (ph pw pt C) -> C (T pt) (H ph) (W pw)' gives the latent, and positions tell where
    patches were.
    """
    latent = torch.randn(channels, frames * temporal, height * spatial, width * spatial)
    tokens = patchify(latent, spatial=spatial, temporal=temporal)
    assert tokens.shape == (frames * height * width, channels * spatial * spatial * temporal)
    grid = tokens.reshape(frames, height, width, spatial, spatial, temporal, channels)
    assert torch.equal(torch.einsum("thwpqac->ctahpwq", grid).reshape(latent.shape), latent)
    positions = grid_positions(frames, height, width)
    assert positions.dtype == torch.int64
    assert positions.shape == (len(tokens), 3)
    for (t, h, w), token in zip(positions.tolist(), tokens, strict=True):
        assert token[0] == latent[0, t * temporal, h * spatial, w * spatial]


@given(length=st.integers(0, 1000), multiple=st.integers(1, 70))
def test_round_up(length: int, multiple: int) -> None:
    rounded = round_up(length, multiple)
    assert rounded % multiple == 0
    assert 0 <= rounded - length < multiple


@pytest.mark.parametrize(
    "rows", [torch.ones(2), torch.ones(2, 3), torch.ones(2, 3, dtype=torch.int64)]
)
def test_padding(rows: torch.Tensor) -> None:
    padded = pad_to(rows, 5)
    assert padded.dtype == rows.dtype
    assert torch.equal(padded[:2], rows)
    assert len(padded) == 5
    assert not padded[2:].any()
    assert pad_to(rows, 2) is rows
    with pytest.raises(ValueError, match="2 rows do not fit into 1"):
        pad_to(rows, 1)


def test_masks_counts_and_stacks() -> None:
    assert ones_to(2, 4).tolist() == [1, 1, 0, 0]
    assert ones_to(2, 4).dtype == torch.bfloat16
    assert counts(3, 4).dtype == torch.int32
    assert stack_padded([torch.ones(1), torch.ones(2)]).tolist() == [[1, 0], [1, 1]]
    assert stack_padded([torch.ones(1)], 3).tolist() == [[1, 0, 0]]


def test_joining_texts_pads_each_to_its_length() -> None:
    text, mask = join_texts([torch.ones(2, 3), torch.full((1, 3), 2.0)], [4, 2])
    assert text[:, 0].tolist() == [1, 1, 0, 0, 2, 0]
    assert mask.tolist() == [1, 1, 0, 0, 1, 0]
    assert text.shape == (6, 3)
