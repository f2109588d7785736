"""Tensors to a CUDA device and back while it works on other batches; elsewhere plain copies.

Copies in both directions are asynchronous from and to pinned memory alone, and run beside the
kernels on a stream of their own alone; one stream each way, so that an upload does not wait behind
a download that waits for its kernels. See "CUDA semantics" and ``Tensor.record_stream`` in torch's
documentation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal

import torch


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy ``tensor`` of the CPU to ``device``, for what is queued on the current stream from now
    on.

    The caller may forget ``tensor`` at once. If it is pinned already, it must not be written to
    until the copy has happened; otherwise it is copied to pinned memory first, and is the caller's
    again.
    """
    if device.type != "cuda":
        return tensor.to(device)
    stream, current = _stream(_index(device), "upload"), torch.cuda.current_stream(device)
    # torch's allocator of pinned memory knows of the copy, and does not give the block out again
    # before it is done.
    pinned = tensor if tensor.is_pinned() else tensor.pin_memory()
    with torch.cuda.stream(stream):
        moved = pinned.to(device, non_blocking=True)
    current.wait_stream(stream)
    # it is of the other stream's memory, which must not reuse it while this one reads it
    moved.record_stream(current)
    return moved


def to_host(tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Begin to copy ``tensor`` to the CPU, and return what waits for the copy and gives it.

    The copy begins when what is queued on the current stream so far has been done; the caller may
    forget ``tensor`` at once. What comes from a CUDA device lies in pinned memory, which is scarce:
    copy out of it what is to stay. What is on the CPU is given as it is.
    """
    if tensor.device.type != "cuda":
        return tensor.cpu
    stream = _stream(_index(tensor.device), "download")
    stream.wait_stream(torch.cuda.current_stream(tensor.device))
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    # Who waits sleeps, and leaves the processor to those who decode.
    done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        host.copy_(tensor, non_blocking=True)
        done.record(stream)
    # it is of the current stream's memory, which must not reuse it while it is read
    tensor.record_stream(stream)

    def wait() -> torch.Tensor:
        done.synchronize()
        return host

    return wait


def _index(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index


@functools.cache
def _stream(index: int, direction: Literal["upload", "download"]) -> torch.cuda.Stream:
    """This process's stream for copies of CUDA device ``index`` in one ``direction``."""
    return torch.cuda.Stream(torch.device("cuda", index))  # type: ignore[no-untyped-call]
