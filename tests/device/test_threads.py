from __future__ import annotations

import subprocess
import sys
import threading

import torch

from energon_prep.device.threads import start_pool


def test_every_thread_is_there_and_keeps_to_itself() -> None:
    models = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        pool = start_pool(2, "test")
        names = {thread.name for thread in threading.enumerate()}
        assert {"test_0", "test_1"} <= names
        assert torch.get_num_threads() == 3, "the models' threads stay as they were"
        together = threading.Barrier(2)  # so that each thread takes one

        def inside() -> int:
            together.wait()
            return torch.get_num_threads()

        assert [task.result() for task in [pool.submit(inside) for _ in range(2)]] == [1, 1]
        assert torch.get_num_threads() == 3
        pool.shutdown()
    finally:
        torch.set_num_threads(models)


def test_how_torchs_threads_wait_is_settled_before_torch_is_there() -> None:
    code = (
        "import sys, os; from energon_prep.device.tuning import tune_process; tune_process();"
        "print('torch' in sys.modules, os.environ['GOMP_SPINCOUNT'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "20000"]
