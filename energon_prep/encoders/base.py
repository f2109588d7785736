"""What every visual and text encoder can do.

``launch`` queues a batch on the encoder's device and returns what waits for its result, so that a CUDA device works on
one batch while the next is prepared and the last is stored; on other devices it waits itself. ``encode`` does both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from energon_prep.samples import TextEmbedding


class VisualEncoder(Protocol):
    """Pixels -> latents. Frozen; one call encodes one batch of equal shape."""

    spatial_factor: int  #: pixels per latent row and column
    temporal_factor: int  #: frames per latent frame after the first
    channels: int  #: of the latent
    images_only: bool  #: takes single frames, no clips

    def launch(self, pixels: torch.Tensor, seeds: Sequence[int]) -> Callable[[], torch.Tensor]:
        """Begin to encode ``pixels`` [B, T, H, W, 3] uint8 to latents [B, C, T', H', W'] in the recipe's dtype.

        Normalised as the recipe says. Of posterior "moments": [B, 2 C, T', H', W'], means and log-variances, of which
        a draw is mean + exp(logvar / 2) * noise; normalising scales both, so that a draw is a normalised latent.

        Both are on the CPU, and the latents may lie in pinned memory: copy out of it what is to stay. Pixels that
        are pinned are not copied aside: do not write to them before the latents are there.

        ``seeds``: one per sample, for posteriors that are drawn from, so that a sample's draw does not depend
        on its batch.
        """
        ...

    def encode(self, pixels: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """What ``launch`` begins, awaited."""
        ...

    def move_to(self, device: torch.device | str) -> None:
        """Move all it holds to ``device``, where it works from now on. Raises PrepError if it does not fit there.

        Its layout and dtype stay those of the device it was loaded on: meant for one that waits elsewhere while
        others work. No batch may be under way. The device it leaves keeps the memory cached.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Id, revision, config hash, dtype, posterior, shift and scale: JSON-able, for run.json."""
        ...


class TextEncoder(Protocol):
    """Captions -> embeddings."""

    name: str

    def tokenize(self, captions: Sequence[str]) -> list[list[int]]:
        """Token ids of each caption, special tokens included, not yet cut."""
        ...

    def launch(self, token_ids: Sequence[Sequence[int]]) -> Callable[[], list[TextEmbedding]]:
        """Begin to embed one batch; each result is an own tensor (no view of the batch) on the CPU, not pinned."""
        ...

    def encode(self, token_ids: Sequence[Sequence[int]]) -> list[TextEmbedding]:
        """What ``launch`` begins, awaited."""
        ...

    def move_to(self, device: torch.device | str) -> None:
        """As ``VisualEncoder.move_to``."""
        ...

    def describe(self) -> dict[str, Any]: ...
