from __future__ import annotations

import pytest
import torch

from energon_prep.encoders.transfer import to_device, to_host

CPU = torch.device("cpu")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_on_the_cpu_nothing_is_copied() -> None:
    tensor = noise(3, 4)
    assert to_device(tensor, CPU) is tensor
    assert to_host(tensor)() is tensor


def test_a_device_without_streams_gets_a_plain_copy() -> None:
    moved = to_device(noise(3, 4), torch.device("meta"))
    assert (moved.device.type, moved.shape) == ("meta", (3, 4))


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bfloat16, torch.float32])
def test_what_goes_to_a_cuda_device_comes_back(
    device: str, pinned: bool, dtype: torch.dtype
) -> None:
    tensor = (noise(5, 33, 7) * 50).to(dtype)
    moved = to_device(tensor.pin_memory() if pinned else tensor, torch.device(device))
    assert moved.device.type == "cuda"
    assert torch.equal(moved.cpu(), tensor)
    for part in (moved, moved.transpose(0, 2), moved[1:, ::2], moved[:0]):
        back = to_host(part)()
        assert (back.device, back.dtype, back.is_pinned() or not back.numel()) == (CPU, dtype, True)
        assert torch.equal(back, part.cpu())


@pytest.mark.gpu
@needs_cuda
def test_inference_tensors_come_back_as_ordinary_ones() -> None:
    with torch.inference_mode():
        result = to_device(noise(4, 4), torch.device("cuda")) * 2
    back = to_host(result)()
    assert not back.is_inference()
    assert torch.equal(back, noise(4, 4) * 2)


@pytest.mark.gpu
@needs_cuda
def test_memory_is_not_reused_while_it_is_copied_or_read() -> None:
    """Batches in flight, each forgotten at once, between kernels that take longer than the
    copies.
    """
    device = torch.device("cuda")
    square = noise(2048, 2048).to(device)
    batches = [noise(512, 2048, seed=seed) for seed in range(24)]
    pending = []
    for batch in batches:
        staged = batch.clone()
        moved = to_device(staged, device)
        staged.zero_()  # it was copied aside
        for _ in range(10):
            square = square @ square
            square = square / square.abs().max()
        result = moved * 2 + 1
        del moved
        pending.append(to_host(result))
        del result
        # would take the result's memory, and is forgotten in turn
        torch.full((512, 2048), 7.0, device=device)
    for batch, wait in zip(batches, pending, strict=True):
        assert torch.equal(wait(), batch * 2 + 1)


@pytest.mark.gpu
@needs_cuda
def test_copies_belong_to_the_current_stream() -> None:
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)  # the kernel that follows is late
        wait = to_host(to_device(noise(64, 64), torch.device("cuda")) * 3)
    torch.testing.assert_close(wait(), noise(64, 64) * 3)


@pytest.mark.gpu
@needs_cuda
def test_nothing_is_awaited_before_the_result() -> None:
    device = torch.device("cuda")
    to_host(to_device(noise(256, 256), device))()  # streams and pinned memory are there now
    torch.cuda.set_sync_debug_mode("error")
    try:
        wait = to_host(to_device(noise(256, 256), device) + 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(wait(), noise(256, 256) + 1)
