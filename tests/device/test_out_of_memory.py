from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from cookers.safe import load_pth
from energon_prep.device.out_of_memory import Halving, is_out_of_memory
from energon_prep.errors import PrepError
from energon_prep.shards.ledger import read_ledger
from energon_prep.storage import LocalStorage
from tests.fakes import MeanVisual, Numbers
from tests.pipeline.test_line import members, run, stations


class Device:
    """Has memory for ``most`` items at once."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.batches: list[int] = []

    def launch(self, batch: Sequence[int]) -> Callable[[], list[int]]:
        self.batches.append(len(batch))
        if len(batch) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return lambda: [-item for item in batch]


def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_later_ones_at_once() -> None:
    device, halving = Device(3), Halving()
    assert halving.launch("512", range(11), device.launch)() == [-i for i in range(11)]
    assert device.batches == [11, 5, 2, 2, 2, 2, 2, 1]
    assert halving.limits == {"512": 2}
    device.batches.clear()
    assert halving.launch("512", range(5), device.launch)() == [-i for i in range(5)]
    assert device.batches == [2, 2, 1]
    halving.launch("64", range(3), device.launch)
    assert halving.limits == {"512": 2}, "other kinds are not concerned"


def test_a_single_sample_that_does_not_fit_stops_the_run() -> None:
    with pytest.raises(
        PrepError,
        match=r"out of memory: .* single sample of 81x720x1280 .*20.00 GiB.*tiling=always",
    ):
        Halving().launch("81x720x1280", range(4), Device(0).launch)


def test_other_errors_are_none_of_its_business() -> None:
    def launch(batch: Sequence[int]) -> Callable[[], list[int]]:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        Halving().launch("512", range(4), launch)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"
            ),
            True,
        ),
        (
            RuntimeError(
                "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
            ),
            True,
        ),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("not enough memory"), False),
    ],
)
def test_what_is_out_of_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


class SmallVisual(MeanVisual):
    """Has memory for one sample at a time."""

    def launch(self, pixels: torch.Tensor, seeds: Sequence[int]) -> Callable[[], torch.Tensor]:
        if len(pixels) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().launch(pixels, seeds)


def test_no_sample_is_lost_and_the_ledger_tells(tmp_path: Path) -> None:
    entries, tally = run(tmp_path, stations(Numbers(50), visual=SmallVisual()))
    assert tally.num_written == 50
    assert read_ledger(tmp_path) == entries
    for entry in entries:
        assert entry.halved == {"1x64x64": 1, "1x48x80": 1, "1x80x48": 1}
        parts = members(tmp_path / entry.shard)
        for name in [name for name in parts if name.endswith(".json")]:
            number = int(json.loads(parts[name])["key"])
            latent = load_pth(parts[name.replace(".json", ".pth")]).float()
            assert torch.allclose(latent, torch.full_like(latent, number % 251 / 255), atol=0.02)


def test_a_ledger_entry_that_lies_about_it_is_refused(tmp_path: Path) -> None:
    entries, _ = run(tmp_path, stations(Numbers(3)))
    storage = LocalStorage(tmp_path)
    name = ".energon-prep/ledger/shard_000000.json"
    entry = json.loads(storage.read(name))
    (tmp_path / name).write_text(json.dumps({**entry, "halved": {"512": "few"}}))
    with pytest.raises(PrepError, match="is not a ledger entry"):
        read_ledger(tmp_path)
    del entry["halved"]
    (tmp_path / name).write_text(json.dumps(entry))
    assert read_ledger(tmp_path) == entries, "entries that were written without it are read"
