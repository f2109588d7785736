from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
from megatron.energon import WorkerConfig, get_train_dataset

from task_encoders import LatentTaskEncoder
from tests.datasets import write_dataset

TINY = {"model": "tiny", "architecture": "x"}
TRAINED = {"model": "google/t5", "revision": "x"}


def load(root: Path) -> None:
    get_train_dataset(
        root,
        task_encoder=LatentTaskEncoder(),
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0),
        batch_size=2,
        shuffle_buffer_size=None,
        max_samples_per_sequence=None,
    )


@pytest.mark.parametrize(
    ("encoders", "warned"),
    [
        ({"visual": TRAINED, "text": [TRAINED, TINY]}, 1),
        ({"visual": {**TINY, "model": "random"}, "text": []}, 1),
        ({"visual": TRAINED, "text": [{"model": "tiny", "revision": None}]}, 0),
        ({"visual": 7}, 0),
        (None, 0),
    ],
)
def test_a_dataset_of_made_up_weights_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, encoders: object, warned: int
) -> None:
    root = write_dataset(tmp_path / "set")
    if encoders is not None:
        (root / ".energon-prep/run.json").write_text(json.dumps({"encoders": encoders}))
    with caplog.at_level(logging.WARNING):
        load(root)
        load(root)
    told = [record for record in caplog.records if "nobody trained" in record.message]
    assert len(told) == warned
    assert all(str(root) in record.message for record in told)


def test_each_of_several_datasets_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = write_dataset(tmp_path / "first")
    run = json.dumps({"encoders": {"visual": TINY, "text": []}})
    (first / ".energon-prep/run.json").write_text(run)
    shutil.copytree(first, tmp_path / "second")
    (tmp_path / "both.yaml").write_text(
        "__module__: megatron.energon\n__class__: MetadatasetV2\nsplits:\n  train:\n    blend:\n"
        "      - {path: ./first, weight: 1}\n      - {path: ./second, weight: 2}\n"
    )
    with caplog.at_level(logging.WARNING):
        load(tmp_path / "both.yaml")
    told = [record.message for record in caplog.records if "nobody trained" in record.message]
    assert len(told) == 2
