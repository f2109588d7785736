"""Samples that are left out on purpose: counted by reason, told now and then, never all of them."""

from __future__ import annotations

import functools
import inspect
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from megatron.energon import SkipSample

from task_encoders.errors import DataError

#: Samples left out one after the other that stop the training, whatever the worker's share.
MOST_IN_A_ROW = 10_000

logger = logging.getLogger(__name__)


def skip_too_long(num_tokens: int, most: int, name: str) -> None:
    """Raise SkipSample for a sequence that does not fit; ``name`` is the argument that says so."""
    if num_tokens > most:
        raise SkipSample(f"longer than {name}={most} tokens")


class SkipCounter:
    """What one worker leaves out of its share of the samples.

    Told when 1, 10, 100, 1,000 and each further 10,000 are left out. Where the data repeat for
    ever, a worker that finds nothing to train on would look for it for ever, and every other
    worker and rank would wait for it: that is an error, once all of its share was left out, or
    ``MOST_IN_A_ROW`` samples. An epoch that ends is told of instead, once.
    """

    def __init__(
        self, *, share: Callable[[], int], worker: Callable[[], str], endless: bool
    ) -> None:
        """``share`` gives the samples of this worker, ``worker`` its name; both are asked within
        it.
        """
        self._share = share
        self._worker = worker
        self._endless = endless
        self._num_samples: int | None = None
        self._kept = 0
        self._reasons = Counter[str]()
        self._in_a_row = 0
        self._missed = dict[Any, str]()  #: the different ones among these, and the reasons

    def keep(self) -> None:
        """One is trained on."""
        self._kept += 1
        if self._in_a_row:
            self._in_a_row = 0
            self._missed.clear()

    def skip(self, sample: Any, reason: str) -> None:
        """One is not. Raises DataError if there is nothing else."""
        self._reasons[reason] += 1
        self._in_a_row += 1
        self._missed[_identity(sample)] = reason
        if self._num_samples is None:
            self._num_samples = self._share()
        whole = len(self._missed) >= self._num_samples
        if self._endless and (whole or self._in_a_row >= MOST_IN_A_ROW):
            raise DataError(self._nothing_left(whole=whole))
        if whole:
            logger.warning("%s", self._nothing_left(whole=True))
            self._missed.clear()
        elif _is_told(self._reasons.total()):
            logger.warning("%s; the last is sample %s", self._account(), sample.__key__)

    def _nothing_left(self, *, whole: bool) -> str:
        what = (
            f"all {self._num_samples} samples of its share"
            if whole
            else f"{self._in_a_row:,} samples in a row"
        )
        reasons = _by_reason(Counter(self._missed.values()))
        return (
            f"{self._worker()} finds nothing to train on: {what} are left out ({reasons}). Take a "
            "wider filter, a longer sequence, or fewer workers and ranks; or leave such samples "
            "out of the dataset"
        )

    def _account(self) -> str:
        skipped = self._reasons.total()
        total = skipped + self._kept
        return (
            f"{self._worker()} leaves out {skipped:,} of {total:,} samples "
            f"({100 * skipped / total:.1f} %): {_by_reason(self._reasons)}"
        )


def count_skips(dataset: Any, *, of: Any, worker_config: Any, endless: bool) -> None:
    """Count what the function of ``dataset``, Energon's MapDataset over ``of``, leaves out.

    One that is a generator, of a task encoder that splits samples, stays as it is.
    """
    encode = getattr(dataset, "map_fn", None)
    if encode is None or dataset is of or inspect.isgeneratorfunction(encode):
        return
    counter = SkipCounter(
        share=lambda: num_samples(of),
        worker=lambda: f"rank {worker_config.rank}, worker {worker_config.rank_worker_id()}",
        endless=endless,
    )

    @functools.wraps(encode)
    def counted(sample: Any) -> Any:
        try:
            encoded = encode(sample)
        except SkipSample as skipped:
            counter.skip(sample, str(skipped) or "for no reason that the task encoder gives")
            raise
        counter.keep()
        return encoded

    dataset.map_fn = counted


def num_samples(dataset: Any) -> int:
    """Of this worker, in one pass, over all datasets that are joined in ``dataset``."""
    inner = getattr(dataset, "datasets", ())
    if inner:
        return sum(map(num_samples, inner))
    # Energon 5 does not say it
    return int(dataset.len_worker()) if hasattr(dataset, "len_worker") else MOST_IN_A_ROW


def _identity(sample: Any) -> Any:
    """Energon 5 and 6 do not say of which dataset a sample is."""
    sources = getattr(sample, "__sources__", None)
    return (str(sources[0].dataset_path) if sources else "", sample.__key__)


def _by_reason(reasons: Counter[str]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())


def _is_told(count: int) -> bool:
    return count in (1, 10, 100, 1_000) or count % 10_000 == 0
