from __future__ import annotations

import contextlib
import gc
import itertools
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from task_encoders import LatentTaskEncoder
from tests.task_encoders.trainers import IMAGE, open_loader, write_target

pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")


def open_tars() -> Iterator[tarfile.TarFile]:
    for found in gc.get_objects():
        if isinstance(found, tarfile.TarFile) and not found.closed:
            yield found


def test_what_was_read_is_not_remembered(tmp_path: Path) -> None:
    dataset_dir = write_target(tmp_path / "dataset", "dit", [IMAGE] * 4)
    before = sum(len(tar.members) for tar in open_tars())
    loader = open_loader(dataset_dir, LatentTaskEncoder(), shuffle_buffer_size=None)
    with contextlib.closing(iter(loader)) as batches:
        for _ in itertools.islice(batches, 20):
            pass
        remembered = sum(len(tar.members) for tar in open_tars()) - before
    assert remembered <= 3  # the parts of one sample
