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

    def __call__(
        self, *, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, use_cache: bool
    ) -> Any:
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


def test_samples_taken_one_by_one_are_joined_where_they_are_alike() -> None:
    encoder = Encoder()
    bare = BareModel(encoder)
    for i, size in enumerate([8] * 10 + [16, 8]):
        encoder._model.encode(torch.full((1, 3, size, size), float(i)))
    bare.finish()
    assert list(bare.variants()) == ["batches", "eights"]
    eights = bare.variants()["eights"]
    assert [tuple(call.args[0].shape[::2]) for call in eights] == [(8, 8), (2, 8), (1, 16), (1, 8)]
    assert eights[1].args[0][:, 0, 0, 0].tolist() == [8, 9]


def test_large_samples_are_not_joined() -> None:
    encoder = Encoder()
    bare = BareModel(encoder)
    for _ in range(2):
        encoder._model.encode(torch.zeros(1, 3, 33, 240, 416))
    bare.finish()
    assert list(bare.variants()) == ["batches"]
