"""Samples that are left out never leave a worker or a rank waiting without a word."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from task_encoders import Filters, LatentTaskEncoder, fixed_batches, in_step
from task_encoders.errors import DataError
from tests.datasets import write_samples
from tests.task_encoders.trainers import IMAGE, open_loader, serialized, stored

pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")

LONG = (16, 5, 8, 8)
LIMIT = 120  #: seconds, for processes that must not wait for ever


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 samples; those of the second half are long, and their score is low."""
    parts = []
    for serial in range(20):
        sample = stored("generic", serial, IMAGE if serial < 10 else LONG)
        sample["json"]["aesthetic_score"] = 9.0 if serial < 10 else 1.0
        parts.append(serialized(sample))
    return write_samples(
        tmp_path_factory.mktemp("halves") / "dataset", parts, subflavors={"target": "generic"}
    )


def train(
    dataset: Path, tmp_path: Path, encoder: str, *, ranks: int = 1, workers: int = 0
) -> list[tuple[int, str]]:
    """Exit code and stderr of each rank."""
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.task_encoders.starved", str(dataset)),
                *(str(tmp_path / "store"), str(rank), str(ranks), str(workers), encoder),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    try:
        said = [process.communicate(timeout=LIMIT)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


REASONS = {"score": "below min_aesthetic_score=5", "dit": "longer than", "wan": "longer than"}


@pytest.mark.parametrize("encoder", REASONS)
def test_with_two_workers_the_one_that_has_nothing_says_so(
    halves: Path, tmp_path: Path, encoder: str
) -> None:
    ((code, said),) = train(halves, tmp_path, encoder, workers=2)
    assert code == 1
    # first, although torch raises it again with the whole traceback of the worker
    assert "\ntask_encoders.errors.DataError: rank 0, worker 1 finds nothing to train on" in said
    assert "all 10 samples of its share are left out (" in said
    assert REASONS[encoder] in said


@pytest.mark.parametrize("encoder", REASONS)
def test_with_two_ranks_both_say_so(halves: Path, tmp_path: Path, encoder: str) -> None:
    for code, said in train(halves, tmp_path, encoder, ranks=2):
        assert code == 1
        assert "rank 1, worker 0 finds nothing to train on: all 10 samples" in said


def test_fewer_samples_than_ranks_is_one_error_on_all(tmp_path: Path) -> None:
    parts = [serialized(stored("generic", 0, IMAGE))]
    dataset = write_samples(tmp_path / "one", parts, num_shards=1, subflavors={"target": "generic"})
    for code, said in train(dataset, tmp_path, "any", ranks=2):
        assert code == 1
        assert "1 samples for 2 ranks of 1 workers each, of which every worker needs one" in said


def test_what_is_left_out_is_told_now_and_then(
    halves: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = LatentTaskEncoder(filters=Filters(min_aesthetic_score=5))
    loader: Any = open_loader(halves, encoder, repeat=False, shuffle_buffer_size=None)
    assert len(list(loader)) == 10
    told = [line for line in caplog.messages if "leaves out" in line]
    assert len(told) == 2  # of 10, the first and the tenth
    assert "10 below min_aesthetic_score=5" in told[1]


def test_an_epoch_without_a_sample_ends_with_a_word(
    halves: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = LatentTaskEncoder(filters=Filters(min_aesthetic_score=10))
    loader = open_loader(halves, encoder, repeat=False)
    whole = "all 20 samples of its share are left out (20 below min_aesthetic_score=10)"
    for epoch in (1, 2, 3):
        assert list(loader) == []
        assert caplog.text.count(whole) == epoch
    with pytest.raises(DataError, match=r"^rank 0, worker 0 finds nothing to train on"):
        next(iter(open_loader(halves, encoder)))


def test_the_group_of_an_epoch_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    new_group = dist.new_group

    def noted(**options: Any) -> Any:
        made.append(new_group(**options))
        return made[-1]

    monkeypatch.setattr(dist, "new_group", noted)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        assert list(in_step([1, 2])) == [1, 2]
        for batch in in_step([1, 2]):
            assert dist.get_process_group_ranks(made[-1]) == [0]
            assert batch == 1
            break
        assert len(made) == 2
        for group in made:
            with pytest.raises(KeyError):
                dist.get_process_group_ranks(group)
        kept = new_group(backend="gloo")
        assert list(in_step([1, 2], kept)) == [1, 2]
        assert dist.get_process_group_ranks(kept) == [0]
    finally:
        dist.destroy_process_group()


def test_a_fixed_number_of_validation_batches() -> None:
    assert list(fixed_batches([1, 2, 3], 7)) == [1, 2, 3, 1, 2, 3, 1]
    assert list(fixed_batches([1, 2, 3], 2)) == [1, 2]
    with pytest.raises(DataError, match="gives no batch on this rank"):
        list(fixed_batches([], 2))
