"""Halve it, and those of its kind after it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch

from energon_prep.errors import PrepError

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

#: In the messages of RuntimeErrors that are no torch.OutOfMemoryError: torch's own on the CPU,
#: cuBLAS and cuDNN.
_SIGNS = ("can't allocate memory", "not enough memory", "ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
    )


def free_memory() -> None:
    """Give what torch has cached of the devices' memory back."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


class Halving:
    """Launches batches, halved where the device has no memory for them; so are those of their kind
    from then on.
    """

    def __init__(self) -> None:
        #: kind -> samples of a batch, at most; empty while all goes well
        self.limits: dict[str, int] = {}

    def launch(
        self,
        kind: str,
        batch: Sequence[T],
        launch: Callable[[Sequence[T]], Callable[[], Iterable[R]]],
    ) -> Callable[[], list[R]]:
        """Launch ``batch`` whole or in pieces; the function that is returned waits for all results,
        in order.

        Raises PrepError if a single sample does not fit.
        """
        waits: list[Callable[[], Iterable[R]]] = []
        rest = batch
        while rest:
            piece = rest[: self.limits.get(kind, len(rest))]
            wait = self._try(kind, piece, launch)
            if wait is not None:  # otherwise the limit is lower now
                waits.append(wait)
                rest = rest[len(piece) :]
        return lambda: [result for wait in waits for result in wait()]

    def _try(
        self,
        kind: str,
        piece: Sequence[T],
        launch: Callable[[Sequence[T]], Callable[[], Iterable[R]]],
    ) -> Callable[[], Iterable[R]] | None:
        """Launch ``piece``; None: it does not fit, and the limit of its kind is lowered."""
        try:
            return launch(piece)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            problem = " ".join(str(error).split())[:200]
        # Out of the except clause, whose traceback keeps the tensors alive.
        free_memory()
        if len(piece) == 1:
            raise PrepError(
                f"out of memory: the device cannot encode a single sample of {kind} "
                f"({problem}). Free memory on it, or use --set visual.tiling=always, a "
                "smaller --resolution, fewer --frames or --phases"
            )
        self.limits[kind] = len(piece) // 2
        log.warning(
            "out of memory: batches of %s are halved to %d from here on", kind, self.limits[kind]
        )
        return None
