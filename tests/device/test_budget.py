from __future__ import annotations

import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from energon_prep.device.budget import Budget, available_bytes

MEMINFO = "MemTotal: 64000000 kB\nMemAvailable: 8000000 kB\n"


def test_threads_never_hold_more_than_the_budget() -> None:
    budget, lock = Budget(100), threading.Lock()
    held: list[int] = []
    moments: list[list[int]] = []

    def work(number: int) -> None:
        with budget.claim() as claim:
            for size in (1 + number * 7 % 60, 1 + number * 11 % 60):  # two resolutions
                claim.take(size)
                with lock:
                    held.append(size)
                    moments.append(list(held))
                time.sleep(0.0001)
                with lock:
                    held.remove(size)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(400)))
    assert len(moments) == 800
    assert max(map(sum, moments)) <= 100


def test_who_wants_more_than_there_is_has_it_alone_and_in_turn() -> None:
    budget = Budget(100)
    order: list[str] = []
    threads = []

    def work(name: str, size: int) -> None:
        with budget.claim() as claim:
            claim.take(size)
            order.append(name)

    with budget.claim() as first:
        first.take(60)
        for number, (name, size) in enumerate([("large", 500), ("small", 10)], 1):
            threads.append(threading.Thread(target=work, args=(name, size)))
            threads[-1].start()
            while len(budget._waiting) < number:
                time.sleep(0)
        assert order == []  # 10 would fit, but then the large one might wait forever
    for thread in threads:
        thread.join()
    assert order == ["large", "small"]


def test_a_share_is_given_back_when_decoding_fails() -> None:
    budget = Budget(10)
    with pytest.raises(ValueError, match="broken"), budget.claim() as claim:
        claim.take(10)
        raise ValueError("broken")
    with budget.claim() as claim:
        claim.take(10)


def test_what_suffices_is_kept() -> None:
    budget = Budget(10)
    with budget.claim() as claim, budget.claim() as other:
        claim.take(9)
        waiting = threading.Thread(target=other.take, args=(5,))
        waiting.start()
        while not budget._waiting:
            time.sleep(0)
        claim.take(9)
        assert waiting.is_alive()
        claim.take(5)
        waiting.join()


def wrote(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V2 = {
    "proc/self/cgroup": "0::/job/step\n",
    "sys/fs/cgroup/job/memory.max": "3000000000\n",
    "sys/fs/cgroup/job/memory.current": "2500000000\n",
    "sys/fs/cgroup/job/memory.stat": "anon 5\ninactive_file 1500000000\n",
    "sys/fs/cgroup/job/step/memory.max": "max\n",
    "sys/fs/cgroup/job/step/memory.current": "5\n",
}
V1 = {
    "proc/self/cgroup": "5:cpu:/elsewhere\n4:blkio,memory:/docker/of-the-host\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "4000000000\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000000000\n",
    "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 500000000\n",
}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8_000_000 * 1024),
        (V2, 2_000_000_000),
        (V1, 3_500_000_000),
        (V2 | {"sys/fs/cgroup/job/memory.current": "9000000000\n"}, 0),
    ],
)
def test_what_is_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert available_bytes(wrote(tmp_path, {"proc/meminfo": MEMINFO} | files)) == expected


def test_what_is_available_of_the_address_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (3_000_000_000,) * 2)
    files = {"proc/meminfo": MEMINFO, "proc/self/status": "VmSize:\t 1000000 kB\n"}
    assert available_bytes(wrote(tmp_path, files)) == 3_000_000_000 - 1_000_000 * 1024
