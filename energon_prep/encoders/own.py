"""A user's class as an encoder, with what it leaves out; see docs/extending.md."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from energon_prep import plugins
from energon_prep.encoders.dtypes import TORCH_DTYPES
from energon_prep.encoders.pretrained import on_device
from energon_prep.encoders.transfer import to_host
from energon_prep.errors import PrepError
from energon_prep.recipes.model import Text, Visual
from energon_prep.samples import TextEmbedding

logger = logging.getLogger(__name__)

#: Fields of the recipe that a user's class is given, or that hold for every encoder.
_HEEDED = {
    *("model", "named", "dtype", "options", "posterior", "batch_pixels"),
    *("name", "max_tokens", "batch_tokens"),
}


class OwnVisual:
    """A user's visual encoder.

    ``encode(pixels, seeds)``: pixels [B, T, H, W, 3] uint8 on the CPU -> latents [B, C, T', H',
    W'], on any device and in any float dtype; [B, C, H', W'] of images will do.
    """

    def __init__(self, spec: Visual, device: torch.device) -> None:
        self._dtype = TORCH_DTYPES[spec.dtype]
        plugin = plugins.make(
            "visual",
            spec.model,
            members=("encode",),
            arguments={"device": device, "dtype": self._dtype},
            options=spec.options,
        )
        _tell_unheeded("visual", spec)
        self._said = f"visual encoder {spec.model}"
        self._own, self._about = plugin.made, plugin.about
        self.spatial_factor: int = getattr(self._own, "spatial_factor", 8)
        self.temporal_factor: int | None = getattr(self._own, "temporal_factor", None)

    def launch(self, pixels: torch.Tensor, seeds: Sequence[int]) -> Callable[[], torch.Tensor]:
        """As ``VisualEncoder.launch``. Raises PrepError if the latents have another shape."""
        with torch.no_grad():
            latents = self._checked(self._own.encode(pixels, seeds), pixels.shape).to(self._dtype)
        return to_host(latents)

    def move_to(self, device: torch.device | str) -> None:
        _move(self._own, device, self._said)

    def describe(self) -> dict[str, Any]:
        return {
            **_described(self._own, self._said),
            **self._about,
            "dtype": str(self._dtype).removeprefix("torch."),
            "spatial_factor": self.spatial_factor,
            "temporal_factor": self.temporal_factor,
        }

    def _checked(self, given: Any, pixels: Sequence[int]) -> torch.Tensor:
        if not isinstance(given, torch.Tensor) or not given.is_floating_point():
            raise PrepError(
                f"{self._said}: encode gave {_kind(given)}, not a float tensor [B, C, T, H, W]"
            )
        num, frames, height, width, _ = pixels
        latents: torch.Tensor = given.unsqueeze(2) if given.ndim == 4 and frames == 1 else given
        factor = self.spatial_factor
        kept = 1 + (frames - 1) // (self.temporal_factor or 1)
        expected = (num, kept, height // factor, width // factor)
        if latents.ndim != 5 or (latents.shape[0], *latents.shape[2:]) != expected:
            wanted = ", ".join(map(str, expected[1:]))
            raise PrepError(
                f"{self._said}: encode made {list(latents.shape)} of pixels {list(pixels)}, not "
                f"[{num}, C, {wanted}]: set its spatial_factor ({factor}) and temporal_factor "
                f"({self.temporal_factor}) to what it does"
            )
        return latents


class OwnText:
    """A user's text encoder.

    ``encode`` gets captions or, if the class has ``tokenize``, lists of token ids; it gives for
    each its hidden states [S, D], or a TextEmbedding. Without ``tokenize`` the UTF-8 bytes of a
    caption stand for its tokens, where captions are sorted by length and batches are measured.
    """

    def __init__(self, spec: Text, device: torch.device) -> None:
        self._dtype = TORCH_DTYPES[spec.dtype]
        plugin = plugins.make(
            "text",
            spec.model,
            members=("encode",),
            arguments={
                "device": device,
                "dtype": self._dtype,
                "max_tokens": spec.max_tokens,
            },
            options=spec.options,
        )
        _tell_unheeded(f"text.{spec.name}", spec)
        self._said = f"text encoder {spec.model}"
        self._spec = spec
        self._own, self._about = plugin.made, plugin.about
        self._tokenizes = hasattr(self._own, "tokenize")

    def tokenize(self, captions: Sequence[str]) -> list[list[int]]:
        if self._tokenizes:
            return [list(ids) for ids in self._own.tokenize(captions)]
        return [list(caption.encode("utf-8", "replace")) for caption in captions]

    def launch(self, token_ids: Sequence[Sequence[int]]) -> Callable[[], list[TextEmbedding]]:
        given: Sequence[Any] = token_ids
        if not self._tokenizes:
            # Trials of batch sizes cut captions anywhere, also within a character.
            given = [bytes(ids).decode("utf-8", "replace") for ids in token_ids]
        with torch.no_grad():
            embeddings = list(self._own.encode(given))
        if len(embeddings) != len(token_ids):
            raise PrepError(
                f"{self._said}: encode gave {len(embeddings)} embeddings of {len(token_ids)} "
                "captions"
            )
        stored = [self._stored(embedding) for embedding in embeddings]
        return lambda: stored

    def move_to(self, device: torch.device | str) -> None:
        _move(self._own, device, self._said)

    def describe(self) -> dict[str, Any]:
        return {
            **_described(self._own, self._said),
            **self._about,
            "name": self._spec.name,
            "dtype": str(self._dtype).removeprefix("torch."),
        }

    def _stored(self, embedding: Any) -> TextEmbedding:
        if isinstance(embedding, torch.Tensor):
            num_tokens = len(embedding) if embedding.ndim else 0
            embedding = TextEmbedding(
                hidden=embedding, pooled=None, num_tokens=num_tokens, truncated=False
            )
        if not isinstance(embedding, TextEmbedding):
            raise PrepError(
                f"{self._said}: encode gave {_kind(embedding)} for a caption, not hidden states "
                "[S, D] or a TextEmbedding"
            )
        hidden, pooled = self._tensor(embedding.hidden, 2), self._tensor(embedding.pooled, 1)
        if hidden is not None and len(hidden) > self._spec.max_tokens:
            raise PrepError(
                f"{self._said}: encode gave {len(hidden)} tokens for a caption, max_tokens is "
                f"{self._spec.max_tokens}: cut captions there, or raise text.max_tokens"
            )
        return TextEmbedding(
            hidden=hidden,
            pooled=pooled,
            num_tokens=embedding.num_tokens,
            truncated=embedding.truncated,
        )

    def _tensor(self, tensor: torch.Tensor | None, ndim: int) -> torch.Tensor | None:
        """On the CPU, in the recipe's dtype, and no view of the batch."""
        if tensor is None:
            return None
        if tensor.ndim != ndim or not tensor.is_floating_point():
            shape = "[S, D]" if ndim == 2 else "[D]"
            raise PrepError(f"{self._said}: encode gave {_kind(tensor)} for a caption, not {shape}")
        moved = tensor.to("cpu", self._dtype)
        whole = moved.untyped_storage().nbytes() == moved.numel() * moved.element_size()
        return moved if whole and moved.is_contiguous() else moved.contiguous().clone()


def _kind(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor {list(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    return f"a {type(value).__name__}"


def _move(own: Any, device: torch.device | str, said: str) -> None:
    """By the class's ``move_to``, or ``to`` as modules of torch have it."""
    if hasattr(own, "move_to"):
        own.move_to(device)
    elif hasattr(own, "to"):
        on_device(own, torch.device(device))
    else:
        raise PrepError(f"{said} has neither move_to nor to: leave out --phases, or give it one")


def _described(own: Any, said: str) -> dict[str, Any]:
    describe = getattr(own, "describe", None)
    if describe is None:
        return {}
    told = describe()
    try:
        plain = json.loads(json.dumps(told))
    except (TypeError, ValueError) as error:
        raise PrepError(f"{said}: describe gives what JSON cannot hold: {error}") from error
    if not isinstance(plain, dict):
        raise PrepError(f"{said}: describe gives {_kind(told)}, not a dict")
    return plain


def _tell_unheeded(section: str, spec: Visual | Text) -> None:
    """Say which fields of the recipe are those of our own encoders alone."""
    fields: Mapping[str, Any] = type(spec).model_fields
    unheeded = [
        name
        for name, field in fields.items()
        if name not in _HEEDED and getattr(spec, name) != field.default
    ]
    if unheeded:
        logger.warning(
            "%s makes what it makes: %s of the recipe say nothing to it",
            spec.model,
            ", ".join(f"{section}.{name}" for name in unheeded),
        )
