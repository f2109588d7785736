"""Batches of equal work: as many samples of a shape as hold ``max_tokens``, not a fixed number."""

from __future__ import annotations


def latent_tokens(frames: int, height: int, width: int) -> int:
    """Patches of 1 x 2 x 2 of a latent of that size."""
    return frames * -(-height // 2) * -(-width // 2)


def samples_of(num_tokens: int, max_tokens: int | None) -> int | None:
    """Samples of ``num_tokens`` each in a batch, one at least; None, which stands for the batch
    size that was given to ``get_train_dataset``, without ``max_tokens``.
    """
    return None if max_tokens is None else max(1, max_tokens // num_tokens)


def require_max_tokens(max_tokens: int | None) -> None:
    """Raise ValueError for a number of tokens that is none."""
    if max_tokens is not None and max_tokens < 1:
        raise ValueError(f"max_tokens={max_tokens}: the tokens of a batch are at least 1")


def require_one_size(batch_size: int | None, max_tokens: int | None) -> None:
    """Raise ValueError unless one of the two says how large a batch is."""
    if batch_size is not None and max_tokens is not None:
        raise ValueError(
            f"batch_size={batch_size} beside max_tokens={max_tokens}, from which the number of "
            "samples follows: pass batch_size=None"
        )
    if batch_size is None and max_tokens is None:
        raise ValueError(
            "batch_size=None: pass the number of samples in a batch, or max_tokens to the task "
            "encoder"
        )
