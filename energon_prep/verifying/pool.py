"""Tars checked in order, by one process or several."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import torch

from energon_prep.errors import PrepError
from energon_prep.verifying.shard import ShardCheck, ShardTask


def check_shards(
    tasks: Sequence[ShardTask], check: Callable[[ShardTask], ShardCheck], *, workers: int
) -> Iterator[ShardCheck]:
    """``check`` tars, ``workers`` at a time; in their order. Raises PrepError if a process dies.

    More than one worker are spawned processes: a program that asks for them needs the ``__main__``
    guard.
    """
    if workers == 1 or len(tasks) < 2:
        yield from map(check, tasks)
        return
    context = multiprocessing.get_context("spawn")  # torch does not survive a fork
    waiting: deque[Future[ShardCheck]] = deque()
    with ProcessPoolExecutor(
        min(workers, len(tasks)), context, torch.set_num_threads, (1,)
    ) as pool:
        try:
            for task in tasks:
                waiting.append(pool.submit(check, task))
                if len(waiting) > 2 * workers:  # so that results do not pile up behind a slow tar
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise PrepError(
                "a process checking tars died: free memory or use fewer workers, and run it again; "
                "a script needs `if __name__ == '__main__':` around the call, or workers=1"
            ) from error
