"""Station 3, encoders: captions -> embeddings, with T5, UMT5 and CLIP text models of transformers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch

from energon_prep.encoders.catalog import Family
from energon_prep.errors import PrepError
from energon_prep.samples import TextEmbedding

_PROBES = ("red", "ocean waves at night")


def cut(ids: Sequence[int], max_tokens: int) -> list[int]:
    """The first ``max_tokens`` of ``ids``, of which the last is still the end token."""
    return [*ids] if len(ids) <= max_tokens else [*ids[: max_tokens - 1], ids[-1]]


class TransformersTextEncoder:
    """A frozen text model and its tokenizer.

    Stores [tokens, D] per caption, or [max_tokens, D] if ``keep_padding``; CLIP gives its pooled [D] besides. Where
    padding is attended to (``attention_mask`` False, T5), every batch is padded to ``max_tokens``, so that
    an embedding never depends on its batch; CLIP is causal and sees no padding either way.
    """

    def __init__(
        self,
        *,
        name: str,
        model: Any,
        tokenizer: Any,
        family: Family,
        max_tokens: int,
        keep_padding: bool,
        attention_mask: bool,
        dtype: torch.dtype,
        device: torch.device,
        about: dict[str, Any],
    ) -> None:
        self.name = name
        self._model = model
        self._tokenizer = tokenizer
        self._tokenizer.model_max_length = sys.maxsize  # we cut, and need no warning per long caption
        self._family = family
        self._max_tokens = max_tokens
        self._keep_padding = keep_padding
        self._attention_mask = attention_mask
        self._dtype = dtype
        self._device = device
        self._about = about
        self._pad_id = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)

    def tokenize(self, captions: Sequence[str]) -> list[list[int]]:
        """Token ids of each caption, special tokens included, not yet cut; "" gives the special tokens alone."""
        if not captions:
            return []
        ids: list[list[int]] = self._tokenizer(list(captions), return_attention_mask=False)["input_ids"]
        return ids

    def encode(self, token_ids: Sequence[Sequence[int]]) -> list[TextEmbedding]:
        """Embed one batch. Results are in the recipe's dtype, on the CPU, each a tensor of its own."""
        kept = [cut(ids, self._max_tokens) for ids in token_ids]
        lengths = [len(ids) for ids in kept]
        attends_padding = not self._attention_mask and self._family != "clip"
        width = self._max_tokens if self._keep_padding or attends_padding else max(lengths)
        batch = torch.tensor([[*ids, *[self._pad_id] * (width - len(ids))] for ids in kept])
        mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()  # [B, width]
        hidden, pooled = self._forward(batch, mask if self._attention_mask else None)
        return [
            TextEmbedding(
                hidden=hidden[i, : width if self._keep_padding else length].clone(),
                pooled=None if pooled is None else pooled[i].clone(),
                num_tokens=length,
                truncated=len(ids) > self._max_tokens,
            )
            for i, (ids, length) in enumerate(zip(token_ids, lengths, strict=True))
        ]

    def describe(self) -> dict[str, Any]:
        """Checkpoint, class, width and how captions are cut and padded: JSON-able, for run.json."""
        return {
            **self._about,
            "name": self.name,
            "class": type(self._model).__name__,
            "width": int(self._model.config.hidden_size),
            "dtype": str(self._dtype).removeprefix("torch."),
            "max_tokens": self._max_tokens,
            "padding": "max_length" if self._keep_padding else "trim",
            "attention_mask": self._attention_mask,
        }

    def _forward(self, batch: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Token ids [B, S] -> hidden states [B, S, D] and, from CLIP, the pooled [B, D], on the CPU."""
        with torch.inference_mode():
            output = self._model(
                input_ids=batch.to(self._device), attention_mask=None if mask is None else mask.to(self._device)
            )
        hidden: torch.Tensor = output.last_hidden_state.to("cpu", self._dtype)
        pooled = output.pooler_output.to("cpu", self._dtype) if self._family == "clip" else None
        return hidden, pooled


def check_working(encoder: TransformersTextEncoder) -> None:
    """Raise PrepError unless two captions get different, finite embeddings that vary along the caption.

    Some releases of transformers 5 load UMT5 with untied embeddings and then give the same vector for everything.
    """
    ids = encoder.tokenize(["", *_PROBES])
    if len({tokens[-1] for tokens in ids if tokens}) != 1 or not ids[0]:
        raise PrepError(
            f"text encoder {encoder.name}: its tokenizer does not end captions with an end token; "
            "install the transformers release the checkpoint was made with, or another copy of the tokenizer"
        )
    hiddens = [embedding.tokens.float() for embedding in encoder.encode(ids[1:])]
    finite = all(bool(hidden.isfinite().all()) for hidden in hiddens)
    varied = any(bool((hidden != hidden[0]).any()) for hidden in hiddens)
    if not finite or not varied or torch.equal(hiddens[0][-1], hiddens[1][-1]):
        what = "the same embedding for different captions" if finite else "NaN or infinity"
        raise PrepError(
            f"text encoder {encoder.name} ({encoder.describe()['class']}) gives {what}: this transformers release "
            "loads it wrongly, or the weights are damaged; install another release (pip install 'transformers<5')"
        )
