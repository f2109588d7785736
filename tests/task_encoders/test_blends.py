from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from task_encoders import DataError, DiTTaskEncoder, FluxTaskEncoder, LatentTaskEncoder
from tests.datasets import write_samples
from tests.task_encoders.trainers import (
    IMAGE,
    POOLED_WIDTH,
    WIDTH,
    open_loader,
    serialized,
    stored,
    take,
    write_target,
)

pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")

FLUX = {"text_width": None, "pooled_width": POOLED_WIDTH, "context_parallel_size": 1}


def blend(folder: Path, *datasets: Path) -> Path:
    """A blend of equal weights."""
    lines = "".join(f"      - {{path: {dataset}, weight: 1}}\n" for dataset in datasets)
    (folder / "blend.yaml").write_text(
        "__module__: megatron.energon\n__class__: MetadatasetV2\nsplits:\n  train:\n    blend:\n"
        + lines
    )
    return folder / "blend.yaml"


def dataset(path: Path, target: str, *, shape: Any = IMAGE, width: int = WIDTH) -> Path:
    return write_target(path, target, [shape] * 8, width=width)


@pytest.mark.parametrize(
    ("target", "make", "other", "message", "workers"),
    [
        ("dit", LatentTaskEncoder, {"width": 16}, "has text width {}", 2),
        ("dit", lambda: DiTTaskEncoder(seq_length=64), {"width": 16}, "has text width {}", 0),
        ("dit", LatentTaskEncoder, {"shape": (4, 1, 4, 4)}, "has latent channels {}", 0),
        ("flux", lambda: FluxTaskEncoder(**FLUX), {"width": 16}, "has text width {}", 0),
    ],
)
def test_datasets_that_do_not_go_together_end_the_training(
    tmp_path: Path,
    target: str,
    make: Callable[[], Any],
    other: dict[str, Any],
    message: str,
    workers: int,
) -> None:
    """Also where Energon skips faulty samples, and within the first batch."""
    both = blend(
        tmp_path, dataset(tmp_path / "a", target), dataset(tmp_path / "b", target, **other)
    )
    packed = {"packing_buffer_size": 8} if target == "dit" and make is not LatentTaskEncoder else {}
    size = 1 if packed else 4
    loader = open_loader(
        both,
        make(),
        strict=False,
        workers=workers,
        batch_size=size,
        shuffle_buffer_size=4,
        **packed,
    )
    with pytest.raises(DataError, match="do not go together") as caught:
        take(loader, 8)
    said = str(caught.value).splitlines()[0]
    assert str(tmp_path / "a") in said
    assert str(tmp_path / "b") in said
    values = (WIDTH, 16) if "width" in other else (16, 4)
    assert all(message.format(value) in said for value in values)


def test_other_text_encoders_end_it_where_they_are_batched(tmp_path: Path) -> None:
    both = blend(tmp_path, dataset(tmp_path / "a", "generic"), dataset(tmp_path / "b", "dit"))
    with pytest.raises(DataError, match=r"has pooled width (6|None).* has pooled width (6|None)"):
        take(open_loader(both, LatentTaskEncoder()), 8)
    batches, _ = take(open_loader(both, DiTTaskEncoder(seq_length=64), packing_buffer_size=4), 8)
    assert len(batches) == 8  # which reads no pooled embeddings


def test_one_faulty_sample_of_a_dataset_does_not(tmp_path: Path) -> None:
    parts = [serialized(stored("dit", n, IMAGE, width=5 if n == 3 else WIDTH)) for n in range(8)]
    faulty = write_samples(tmp_path / "a", parts, subflavors={"target": "dit"})
    loader = open_loader(faulty, LatentTaskEncoder(), strict=False, repeat=False)
    assert len(list(loader)) == 8


TRAINED = {"model": "google/t5", "revision": "x", "class": "T5EncoderModel", "width": 8}
COPY = {"model": "/one/t5", "revision": None, "weights": {"sha256": "1"}}


@pytest.mark.parametrize(
    ("one", "other", "warned"),
    [
        (TRAINED, TRAINED, False),
        (TRAINED, {**TRAINED, "dtype": "float32"}, False),
        (TRAINED, {**TRAINED, "revision": "y"}, True),
        (TRAINED, {**TRAINED, "model": "other/t5"}, True),
        (TRAINED, {**TRAINED, "hidden_layer": -2}, True),
        (COPY, {**COPY, "model": "/two/t5"}, False),
        (COPY, {**COPY, "weights": {"sha256": "2"}}, True),
        (COPY, {"model": "google/t5", "revision": "x"}, False),  # perhaps a copy of it
        (COPY, {"model": "tiny", "architecture": "x"}, True),
    ],
)
def test_the_same_width_of_another_encoder_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, one: Any, other: Any, warned: bool
) -> None:
    paths = [dataset(tmp_path / name, "dit") for name in ("a", "b")]
    for path, text in zip(paths, (one, other), strict=True):
        run = {"encoders": {"visual": {"model": "vae", "revision": "z"}, "text": [text]}}
        (path / ".energon-prep/run.json").write_text(json.dumps(run))
    both = blend(tmp_path, *paths)
    with caplog.at_level(logging.WARNING):
        open_loader(both, LatentTaskEncoder())
        open_loader(both, LatentTaskEncoder())
    told = [line for line in caplog.messages if "different encoders" in line]
    assert len(told) == warned
    assert all(str(path) in line for line in told for path in paths)
