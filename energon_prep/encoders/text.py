"""Captions -> embeddings, with the text models of transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch

from energon_prep.encoders.pretrained import on_device
from energon_prep.encoders.text_families import TextFamily
from energon_prep.encoders.text_tokens import CaptionTokenizer
from energon_prep.encoders.transfer import to_device, to_host
from energon_prep.errors import PrepError
from energon_prep.samples import TextEmbedding

_PROBES = ("red", "ocean waves at night")

Output = Literal["both", "hidden", "pooled"]


class TransformersTextEncoder:
    """A frozen text model and its tokenizer.

    Stores [tokens, D] per caption, or [max_tokens, D] if ``keep_padding``; CLIP gives its pooled
    [D'] besides, of its text projection if it has one. Where padding is attended to
    (``attention_mask`` False, T5), every batch is padded to ``max_tokens``, so that an embedding
    never depends on its batch; causal models see no padding either way. ``hidden_layer`` -1 is the
    last, after the final norm; the others count back from it and are not normed.
    """

    def __init__(
        self,
        *,
        name: str,
        model: Any,
        captions: CaptionTokenizer,
        family: TextFamily,
        dtype: torch.dtype,
        device: torch.device,
        about: dict[str, Any],
        keep_padding: bool = False,
        attention_mask: bool = True,
        zero_padding: bool = False,
        hidden_layer: int = -1,
        output: Output = "both",
    ) -> None:
        self.name = name
        self._model = model
        self._captions = captions
        self._family = family
        self._dtype = dtype
        self._device = device
        self._about = about
        self._keep_padding = keep_padding
        self._attention_mask = attention_mask
        # Of a causal model, padding could only change outputs at padding. Attention is faster
        # without a mask, and transformers looks at a mask's values, for which it waits until a CUDA
        # device has done all that is queued.
        stores_padding = keep_padding and not zero_padding
        self._needs_mask = attention_mask and (stores_padding or not family.causal)
        self._zero_padding = zero_padding
        self._hidden_layer = hidden_layer
        self._output = output

    def tokenize(self, captions: Sequence[str]) -> list[list[int]]:
        """Token ids of each caption, special tokens included, not yet cut; "" gives what every
        caption has.
        """
        return self._captions.tokenize(captions)

    def launch(self, token_ids: Sequence[Sequence[int]]) -> Callable[[], list[TextEmbedding]]:
        """Begin to embed one batch. Results are in the recipe's dtype, on the CPU, each a tensor of
        its own.
        """
        kept = [self._captions.cut(ids) for ids in token_ids]
        truncated = [len(ids) > len(rest) for ids, rest in zip(token_ids, kept, strict=True)]
        lengths = torch.tensor([len(ids) for ids in kept])
        attends_padding = not (self._attention_mask or self._family.causal)
        width = (
            self._captions.width if self._keep_padding or attends_padding else int(lengths.max())
        )
        batch = torch.tensor(
            [[*ids, *[self._captions.pad_id] * (width - len(ids))] for ids in kept]
        )
        mask = torch.arange(width) < lengths[:, None]  # [B, width]
        outputs = self._forward(batch, mask.long() if self._needs_mask else None)
        copies = [None if output is None else to_host(output) for output in outputs]

        def wait() -> list[TextEmbedding]:
            hidden, pooled = (None if copy is None else copy() for copy in copies)
            if hidden is not None and self._zero_padding:
                hidden = hidden.masked_fill(~mask[:, :, None], 0)
            ends = [width if self._keep_padding else len(ids) for ids in kept]
            return [
                TextEmbedding(
                    hidden=None if hidden is None else self._captions.stored(hidden[i, :end]),
                    pooled=None if pooled is None else pooled[i].clone(),
                    num_tokens=self._captions.num_stored(len(ids)),
                    truncated=truncated[i],
                )
                for i, (ids, end) in enumerate(zip(kept, ends, strict=True))
            ]

        return wait

    def encode(self, token_ids: Sequence[Sequence[int]]) -> list[TextEmbedding]:
        """What ``launch`` begins, awaited."""
        return self.launch(token_ids)()

    def move_to(self, device: torch.device | str) -> None:
        self._device = torch.device(device)
        self._model = on_device(self._model, self._device)

    def describe(self) -> dict[str, Any]:
        """Checkpoint, class, width and how captions are cleaned, cut and padded: JSON-able, for
        run.json.
        """
        return {
            **self._about,
            "name": self.name,
            "class": type(self._model).__name__,
            "width": int(self._model.config.hidden_size),
            "dtype": str(self._dtype).removeprefix("torch."),
            "model_dtype": str(self._model.dtype).removeprefix("torch."),
            **self._captions.describe(),
            "padding": "max_length" if self._keep_padding else "trim",
            "attention_mask": self._attention_mask,
            "zero_padding": self._zero_padding,
            "hidden_layer": self._hidden_layer,
            "output": self._output,
        }

    def _forward(
        self, batch: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Token ids [B, S] -> hidden states [B, S, D] and, from CLIP, the pooled [B, D'], on the
        encoder's device.
        """
        options: dict[str, Any] = {"use_cache": False} if self._family.decoder else {}
        inner = self._hidden_layer != -1
        with torch.inference_mode():
            output = self._model(
                input_ids=to_device(batch, self._device),
                attention_mask=None if mask is None else to_device(mask, self._device),
                output_hidden_states=inner,
                **options,
            )
        hidden, pooled = None, None
        if self._output != "pooled":
            states = output.hidden_states[self._hidden_layer] if inner else output.last_hidden_state
            hidden = states.to(self._dtype)
        if self._output != "hidden":
            pooled = (
                output["text_embeds"] if "text_embeds" in output else output.get("pooler_output")
            )
            pooled = None if pooled is None else pooled.to(self._dtype)
        return hidden, pooled


def check_working(encoder: TransformersTextEncoder) -> None:
    """Raise PrepError unless two captions get different, finite embeddings that vary along the
    caption.

    Some releases of transformers 5 load UMT5 with untied embeddings and then give the same vector
    for everything.
    """
    embeddings = encoder.encode(encoder.tokenize(_PROBES))
    values = [value for e in embeddings for value in (e.hidden, e.pooled) if value is not None]
    finite = all(bool(value.isfinite().all()) for value in values)
    if not finite or not _vary([e.hidden for e in embeddings]) or not _differ(embeddings):
        what = "the same embedding for different captions" if finite else "NaN or infinity"
        raise PrepError(
            f"text encoder {encoder.name} ({encoder.describe()['class']}) gives {what}: this "
            "transformers release loads it wrongly, or the weights are damaged; install "
            "another release (pip install 'transformers<5')"
        )


def _vary(hiddens: list[torch.Tensor | None]) -> bool:
    """At least one of the sequences [S, D] is not the same vector S times."""
    return any(hidden is None or bool((hidden != hidden[0]).any()) for hidden in hiddens)


def _differ(embeddings: list[TextEmbedding]) -> bool:
    """The captions' ends differ, which are to tell of all that came before."""
    first, second = (
        e.pooled if e.hidden is None else e.hidden[e.num_tokens - 1] for e in embeddings
    )
    return first is not None and second is not None and not torch.equal(first, second)
