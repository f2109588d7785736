from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from task_encoders import FluxTaskEncoder, LatentTaskEncoder
from tests.task_encoders.trainers import (
    CLIP,
    IMAGE,
    POOLED_WIDTH,
    WIDE,
    WIDTH,
    open_loader,
    take,
    write_target,
)

pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")


def flux(**options: Any) -> FluxTaskEncoder:
    widths = {"text_width": WIDTH, "pooled_width": POOLED_WIDTH, "context_parallel_size": 1}
    return FluxTaskEncoder(**widths, **options)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 4 tokens, clips of 30."""
    return write_target(tmp_path_factory.mktemp("mixed") / "dataset", "dit", [IMAGE, CLIP] * 12)


def test_a_batch_has_as_many_samples_as_hold_the_tokens(mixed: Path) -> None:
    loader = open_loader(mixed, LatentTaskEncoder(max_tokens=33), batch_size=None)
    batches, _ = take(loader, 20)
    assert {tuple(batch.latents.shape) for batch in batches} == {(8, *IMAGE), (1, *CLIP)}


def test_a_sample_of_more_tokens_is_a_batch_of_its_own(mixed: Path) -> None:
    loader = open_loader(mixed, LatentTaskEncoder(max_tokens=8), batch_size=None, repeat=False)
    assert {len(batch.latents) for batch in loader if batch.latents.shape[2] > 1} == {1}


def test_flux_counts_the_text_too(tmp_path: Path) -> None:
    dataset = write_target(tmp_path / "dataset", "flux", [IMAGE, WIDE] * 4)
    loader = open_loader(dataset, flux(max_tokens=3 * (512 + 4)), batch_size=None)
    batches, _ = take(loader, 8)
    assert {tuple(b["latents"].shape) for b in batches} == {(3, 16, 4, 4), (2, 16, 4, 6)}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_restored_loader_goes_on_exactly(mixed: Path, workers: int) -> None:
    def loader() -> Any:
        return open_loader(
            mixed, LatentTaskEncoder(max_tokens=33), batch_size=None, workers=workers
        )

    whole, _ = take(loader(), 16)
    before, state = take(loader(), 7)
    restored = loader()
    restored.restore_state_rank(pickle.loads(pickle.dumps(state)))
    for one, other in zip(whole, before + take(restored, 9)[0], strict=True):
        assert one.__key__ == other.__key__
        assert torch.equal(one.latents, other.latents)


@pytest.mark.parametrize(
    ("make", "batch_size", "message"),
    [
        (lambda: LatentTaskEncoder(max_tokens=9), 4, "batch_size=4 beside max_tokens=9"),
        (lambda: flux(max_tokens=9), 4, "batch_size=4 beside max_tokens=9"),
        (LatentTaskEncoder, None, "batch_size=None: pass the number of samples"),
        (flux, None, "batch_size=None: pass the number of samples"),
        (lambda: LatentTaskEncoder(max_tokens=0), None, "max_tokens=0"),
        (lambda: flux(max_tokens=-1), None, "max_tokens=-1"),
    ],
)
def test_what_does_not_go_together(make: Any, batch_size: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make().build_batch(None, batch_size=batch_size)
