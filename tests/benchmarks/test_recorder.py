from __future__ import annotations

from typing import Any

import torch

from benchmarks.recorder import BareModel


class Model:
    """Adds up what it is given."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, ...]] = []

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        self.calls.append(tuple(pixels.shape))
        return pixels + 1

    def __call__(self, *, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, use_cache: bool) -> Any:
        self.calls.append(tuple(input_ids.shape))
        return input_ids


class Encoder:
    def __init__(self) -> None:
        self._model: Any = Model()


def test_a_visual_model_is_called_with_the_same_again() -> None:
    encoder, pixels = Encoder(), torch.zeros(3, 3, 8, 8).to(memory_format=torch.channels_last)
    model = encoder._model
    bare = BareModel(encoder)
    assert torch.equal(encoder._model.encode(pixels), pixels + 1)
    bare.finish()
    assert encoder._model is model
    pixels.fill_(7)  # the encoder uses its memory again
    noted = bare.variants()["batches"][0].args[0]
    assert noted.is_contiguous(memory_format=torch.channels_last)
    assert not noted.any()
    for calls in bare.variants().values():
        bare.run(calls)
    assert model.calls == [(3, 3, 8, 8), (3, 3, 8, 8)] + 3 * [(1, 3, 8, 8)]


def test_single_captions_have_no_padding_that_is_masked() -> None:
    encoder = Encoder()
    bare = BareModel(encoder)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    encoder._model(input_ids=torch.ones(2, 4), attention_mask=mask, use_cache=False)
    encoder._model(input_ids=torch.ones(2, 4), attention_mask=None, use_cache=False)
    bare.finish()
    bare.run(bare.variants()["singles"])
    assert encoder._model.calls[2:] == [(1, 2), (1, 4), (1, 4), (1, 4)]


def test_one_sample_a_batch_needs_no_variant() -> None:
    encoder = Encoder()
    bare = BareModel(encoder)
    encoder._model.encode(torch.zeros(1, 3, 8, 8))
    bare.finish()
    assert list(bare.variants()) == ["batches"]
