"""Notes what an encoder calls its model with, so that the bare model can be called with the same
again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, kw_only=True)
class Call:
    """One batch: a model's method and its tensors, whose first dimension is the batch's, and other
    arguments.
    """

    method: str | None  #: None: the model itself
    args: tuple[Any, ...]
    options: dict[str, Any]

    def __call__(self, model: Any) -> None:
        (model if self.method is None else getattr(model, self.method))(*self.args, **self.options)

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Call:
        """The call with every tensor changed."""
        args = tuple(
            change(value) if isinstance(value, torch.Tensor) else value for value in self.args
        )
        options = {
            name: change(value) if isinstance(value, torch.Tensor) else value
            for name, value in self.options.items()
        }
        return Call(method=self.method, args=args, options=options)

    def __len__(self) -> int:
        """How many samples it has."""
        return len(self.tensors[0])

    @property
    def tensors(self) -> list[torch.Tensor]:
        return [
            value
            for value in (*self.args, *self.options.values())
            if isinstance(value, torch.Tensor)
        ]


class Recorder:
    """In the place of an encoder's model: notes the calls of ``encode``, a VAE's, and of the model
    itself, a text's.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.calls: list[Call] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._noted(Call(method=None, args=args, options=options), self.model)

    def encode(self, *args: Any, **options: Any) -> Any:
        return self._noted(Call(method="encode", args=args, options=options), self.model.encode)

    def _noted(self, call: Call, function: Callable[..., Any]) -> Any:
        # Cloned: the encoder may use the memory again. Strides, channels_last among them, are kept.
        self.calls.append(call.map(torch.Tensor.clone))
        return function(*call.args, **call.options)


class BareModel:
    """An encoder's model, and the batches that the encoder gives it until ``finish``."""

    def __init__(self, encoder: Any) -> None:
        self.name: str = getattr(encoder, "name", "visual")
        self._encoder = encoder
        self._recorder = encoder._model = Recorder(encoder._model)
        self.batches: list[Call] = self._recorder.calls

    def finish(self) -> None:
        """Give the encoder its model back."""
        self._encoder._model = self._recorder.model
        assert self.batches, f"the model {self.name} was not called"

    @property
    def num_samples(self) -> int:
        return sum(map(len, self.batches))

    def variants(self) -> dict[str, list[Call]]:
        """The same samples in the batches that they were in, one by one without the padding that is
        masked, and by eight where the encoder took one by one; what would be the same again is left
        out.
        """
        singles = [_single(call, i) for call in self.batches for i in range(len(call))]
        eights = list(_joined(singles, most=8))
        found = {"batches": self.batches}
        if len(singles) > len(self.batches):
            found["singles"] = singles
        elif len(eights) < len(singles):
            found["eights"] = eights
        return found

    def run(self, calls: list[Call]) -> None:
        with torch.inference_mode():
            for call in calls:
                call(self._recorder.model)


def _single(call: Call, i: int) -> Call:
    mask = call.options.get("attention_mask")
    if mask is None:
        return call.map(lambda tensor: tensor[i : i + 1])
    length = int(mask[i].sum())
    return call.map(lambda tensor: tensor[i : i + 1, :length])


def _joined(singles: list[Call], *, most: int) -> Iterator[Call]:
    """Neighbours of equal shapes as one call, unless that is more than ``most`` images of 512x512
    hold.
    """
    for _, equal in itertools.groupby(
        singles, key=lambda call: [tensor.shape for tensor in call.tensors]
    ):
        calls = list(equal)
        size = max(1, min(most, most * 3 * 512 * 512 // calls[0].tensors[0].numel()))
        for start in range(0, len(calls), size):
            yield _join(calls[start : start + size])


def _join(calls: list[Call]) -> Call:
    tensors = iter(
        [torch.cat(parts) for parts in zip(*(call.tensors for call in calls), strict=True)]
    )
    return calls[0].map(lambda _: next(tensors))
