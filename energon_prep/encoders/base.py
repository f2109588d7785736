"""What every visual and text encoder can do.

``launch`` queues a batch on the encoder's device and returns what waits for its result, so that a
CUDA device works on one batch while the next is prepared and the last is stored; on other devices
it waits itself. A user's class may have less: see docs/extending.md and ``encoders/own.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from energon_prep.samples import TextEmbedding


class VisualEncoder(Protocol):
    """Pixels -> latents. Frozen; one call encodes one batch of equal shape."""

    spatial_factor: int  #: pixels per latent row and column
    temporal_factor: int | None  #: frames per latent frame after the first; None: images only

    def launch(self, pixels: torch.Tensor, seeds: Sequence[int]) -> Callable[[], torch.Tensor]:
        """Begin to encode ``pixels`` [B, T, H, W, 3] uint8 to latents [B, C, T', H', W'].

        In the recipe's dtype, normalised as it says. Of posterior "moments": [B, 2 C, T', H', W'],
        means and log-variances, of which a draw is mean + exp(logvar / 2) * noise; normalising
        scales both, so that a draw is a normalised latent.

        Both are on the CPU, and the latents may lie in pinned memory: copy out of it what is to
        stay. Pixels that are pinned are not copied aside: do not write to them before the latents
        are there.

        ``seeds``: one per sample, for posteriors that are drawn from, so that a sample's draw does
        not depend on its batch.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Id, revision, config hash, dtype, posterior, shift and scale: JSON-able, for run.json."""
        ...

    def move_to(self, device: torch.device | str) -> None:
        """Move all it holds to ``device``, where it works from now on.

        Its layout and dtype stay those of the device it was loaded on: meant for one that waits
        elsewhere while others work. No batch may be under way. The device it leaves keeps the
        memory cached. Raises PrepError if it does not fit there.
        """
        ...


class TextEncoder(Protocol):
    """Captions -> embeddings."""

    def tokenize(self, captions: Sequence[str]) -> list[list[int]]:
        """Token ids of each caption, special tokens included, not yet cut."""
        ...

    def launch(self, token_ids: Sequence[Sequence[int]]) -> Callable[[], list[TextEmbedding]]:
        """Begin to embed one batch.

        Each result is an own tensor (no view of the batch) on the CPU, not pinned.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """As ``VisualEncoder.describe``."""
        ...

    def move_to(self, device: torch.device | str) -> None:
        """As ``VisualEncoder.move_to``."""
        ...
