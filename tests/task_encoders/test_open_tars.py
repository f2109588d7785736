from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from task_encoders import LatentTaskEncoder
from tests.task_encoders.trainers import IMAGE, open_loader, write_target

pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")


def open_tars(dataset: Any) -> Iterator[Any]:
    for reader in getattr(dataset, "join_readers", ()):
        yield from reader.itar_files_cache.values()
    for inner in getattr(dataset, "datasets", ()):
        yield from open_tars(inner)


def test_what_was_read_is_not_remembered(tmp_path: Path) -> None:
    dataset_dir = write_target(tmp_path / "dataset", "dit", [IMAGE] * 4)
    loader = open_loader(dataset_dir, LatentTaskEncoder(), shuffle_buffer_size=None)
    with contextlib.closing(iter(loader)) as batches:
        for _ in itertools.islice(batches, 20):
            pass
        tars = list(open_tars(loader.dataset))
        # the parts of the last sample of each
        assert [len(tar.members) for tar in tars] == [3] * 2
