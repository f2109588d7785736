"""Latents and text -> padded sequences of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812


def patchify(latent: torch.Tensor, *, spatial: int = 2, temporal: int = 1) -> torch.Tensor:
    """[C, T*pt, H*ps, W*ps] -> [T*H*W, ps*ps*pt*C]: einops' 'C (T pt) (H ph) (W pw) -> (T H W) (ph
    pw pt C)'.

    With pt = 1, as all trainers have it, this is also WAN's order, (pt ph pw C).
    """
    channels, frames, height, width = latent.shape
    # channels last first: then whole rows of a patch move at once, in half the time
    rows = latent.transpose(0, 1).contiguous(memory_format=torch.channels_last)
    grid = rows.permute(0, 2, 3, 1).reshape(
        frames // temporal,
        temporal,
        height // spatial,
        spatial,
        width // spatial,
        spatial,
        channels,
    )  # [T, pt, H, ph, W, pw, C]
    return grid.permute(0, 2, 4, 3, 5, 1, 6).reshape(-1, spatial * spatial * temporal * channels)


def grid_positions(frames: int, height: int, width: int) -> torch.Tensor:
    """[T*H*W, 3] int64: the place (t, h, w) of each patch."""
    return torch.cartesian_prod(torch.arange(frames), torch.arange(height), torch.arange(width))


def round_up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def pad_to(rows: torch.Tensor, length: int) -> torch.Tensor:
    """[S, ...] -> [``length``, ...] with zeros. Raises ValueError if there are more rows than
    that.
    """
    missing = length - len(rows)
    if missing < 0:
        raise ValueError(f"{len(rows)} rows do not fit into {length}")
    return F.pad(rows, (0, 0) * (rows.ndim - 1) + (0, missing)) if missing else rows


def ones_to(num: int, length: int) -> torch.Tensor:
    """[``length``] bfloat16: ``num`` ones, then zeros."""
    return (torch.arange(length) < num).to(torch.bfloat16)


def counts(*values: int) -> torch.Tensor:
    """[n] int32, as the trainers' steps want lengths and shapes."""
    return torch.tensor(values, dtype=torch.int32)


def stack_padded(rows: list[torch.Tensor], length: int | None = None) -> torch.Tensor:
    """[S_i, ...] each -> [B, S, ...] with zeros; S is ``length`` or the longest."""
    length = max(len(row) for row in rows) if length is None else length
    return torch.stack([pad_to(row, length) for row in rows])


def join_padded(rows: list[torch.Tensor], lengths: Sequence[int]) -> torch.Tensor:
    """[S_i, ...] each -> [sum of ``lengths``, ...]: one after the other, each followed by zeros to
    its length.
    """
    joined = rows[0].new_zeros(sum(lengths), *rows[0].shape[1:])
    start = 0
    for row, length in zip(rows, lengths, strict=True):
        joined[start : start + len(row)] = row
        start += length
    return joined


def join_texts(
    texts: list[torch.Tensor], lengths: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts [K_i, D] as ``join_padded`` joins them, [K, D], and their mask [K], one where a token
    is.
    """
    return join_padded(texts, lengths), join_padded(
        [text.new_ones(len(text)) for text in texts], lengths
    )
