from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from cookers import Layout, TextEmbeddings, make_cooker
from task_encoders import EMPTY_CAPTION, DataError, DiTTaskEncoder, LatentTaskEncoder, captions
from task_encoders.captions import CaptionDropout, drop_caption
from tests.datasets import write_samples
from tests.task_encoders.test_blends import blend
from tests.task_encoders.trainers import (
    IMAGE,
    WIDTH,
    numbers,
    open_loader,
    sample,
    serialized,
    stored,
    take,
)

pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")


def dataset(path: Path, value: float, *, tokens: int = 1) -> Path:
    """Its empty caption has that value; the subflavors say of which it is."""
    parts = [serialized(stored("dit", serial, IMAGE)) for serial in range(8)]
    empty = torch.full((tokens, WIDTH), value)
    subflavors = {"target": "dit", "empty": str(value)}
    return write_samples(path, parts, subflavors=subflavors, empty_caption=empty)


@pytest.mark.parametrize("workers", [0, 2])
def test_each_sample_gets_the_empty_caption_of_its_dataset(tmp_path: Path, workers: int) -> None:
    both = blend(tmp_path, dataset(tmp_path / "a", 0.25), dataset(tmp_path / "b", 0.5))
    loader = open_loader(both, LatentTaskEncoder(caption_dropout=1.0), workers=workers)
    batches, _ = take(loader, 20)
    values = [float(batch.text.unique()) for batch in batches]
    assert values == [float(batch.__subflavors__[0]["empty"]) for batch in batches]
    assert set(values) == {0.25, 0.5}


def test_a_dataset_without_one_is_told_when_it_is_opened(tmp_path: Path) -> None:
    both = blend(tmp_path, dataset(tmp_path / "a", 0.25), dataset(tmp_path / "b", 0.5))
    (tmp_path / "b" / EMPTY_CAPTION).unlink()
    with pytest.raises(ValueError, match=rf"no embedding of the empty caption at {tmp_path / 'b'}"):
        open_loader(both, DiTTaskEncoder(caption_dropout=0.1))
    open_loader(both, DiTTaskEncoder())
    open_loader(both, DiTTaskEncoder(caption_dropout=0.1, empty_caption=tmp_path / "a"))


def test_one_that_is_too_long_stops_the_training(tmp_path: Path) -> None:
    long = dataset(tmp_path / "a", 0.25, tokens=9)
    encoder = LatentTaskEncoder(caption_dropout=0.5, max_text_tokens=8)
    with pytest.raises(DataError, match="the empty caption: text of 9 tokens"):
        take(open_loader(long, encoder, strict=False), 20)
    cut = LatentTaskEncoder(caption_dropout=1.0, max_text_tokens=8, truncate=True)
    assert take(open_loader(long, cut), 1)[0][0].text.shape[1] == 8


@pytest.mark.parametrize("given", [False, True])
def test_it_is_of_the_text_encoders_that_the_cooker_takes(tmp_path: Path, given: bool) -> None:
    """Both have the same widths, so that nothing else would tell."""

    def text(value: float) -> dict[str, Any]:
        return {
            name: {"hidden": torch.full((6, WIDTH), v), "pooled": torch.full((4,), v)}
            for name, v in (("one", value), ("two", -value))
        }

    parts = [serialized({**stored("dit", n, IMAGE), "pickle": text(3.0)}) for n in range(4)]
    path = write_samples(
        tmp_path / "set", parts, subflavors={"target": "generic"}, empty_caption=text(0.5)
    )
    cookers = [make_cooker(Layout(hidden_from="two", pooled_from="one"))]
    encoder = LatentTaskEncoder(
        cookers=cookers,
        caption_dropout=1.0,
        empty_caption=path if given else None,
        max_text_tokens=4,
        truncate=True,
    )
    batch = take(open_loader(path, encoder), 1)[0][0]
    assert batch.text.unique().tolist() == [-0.5]
    assert batch.pooled.unique().tolist() == [0.5]


def test_without_a_source_it_has_to_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    dropout = CaptionDropout(probability=1.0)
    with pytest.raises(DataError, match="sample a does not say of which dataset it is"):
        drop_caption(sample(), dropout)
    empty = TextEmbeddings(text=numbers(0, 1, WIDTH))
    dropped = drop_caption(sample(), CaptionDropout(probability=1.0, empty=empty))
    assert dropped.text is empty.text
    monkeypatch.setattr(captions, "_TELLS_DATASETS", False)  # as in Energon 5 and 6
    with pytest.raises(
        ValueError, match=r"energon-prep encode stores it as \.energon-prep/empty_caption\.pickle"
    ):
        LatentTaskEncoder(caption_dropout=0.1)


def test_a_restored_loader_drops_the_same(tmp_path: Path) -> None:
    def loader() -> Any:
        return open_loader(path, LatentTaskEncoder(caption_dropout=0.5))

    path = dataset(tmp_path / "a", 0.25)
    whole, _ = take(loader(), 12)
    before, state = take(loader(), 5)
    restored = loader()
    restored.restore_state_rank(pickle.loads(pickle.dumps(state)))
    after, _ = take(restored, 7)
    for one, other in zip(whole, before + after, strict=True):
        assert torch.equal(one.text, other.text)
