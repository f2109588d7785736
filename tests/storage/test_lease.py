from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from energon_prep.errors import PrepError
from energon_prep.storage import lease
from energon_prep.storage.lease import Clock, Lease


class Store:
    """Files in memory, between which a fake time passes."""

    url = "s3://bucket/set"

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.time = 0.0
        self.meanwhile: Callable[[], None] = lambda: None  #: happens whenever somebody sleeps
        self.clock = Clock(now=lambda: self.time, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.time += seconds
        self.meanwhile()

    def read(self, name: str) -> bytes:
        try:
            return self.files[name]
        except KeyError:
            raise FileNotFoundError(name) from None

    def put_new(self, name: str, data: bytes) -> bool:
        return self.files.setdefault(name, data) == data

    def swap(self, name: str, old: bytes, new: bytes) -> bool:
        if self.files.get(name) != old:
            return False
        self.files[name] = new
        return True

    def remove(self, name: str) -> None:
        self.files.pop(name, None)


@pytest.fixture
def store() -> Store:
    return Store()


def a_lease(store: Store) -> Lease:
    return Lease(store, "lock", clock=store.clock)


def of_another_machine(store: Store) -> None:
    """The lock's holder is where its process cannot be seen."""
    note = {**json.loads(store.files["lock"]), "machine": "elsewhere", "host": "node7", "pid": 1}
    store.files["lock"] = json.dumps(note).encode()


def test_a_lock_is_there_while_it_is_held(store: Store) -> None:
    with a_lease(store).held():
        note = json.loads(store.files["lock"])
        assert {"host", "pid", "run"} <= note.keys()
    assert store.files == {}
    with pytest.raises(RuntimeError), a_lease(store).held():
        raise RuntimeError
    assert store.files == {}


def test_a_second_run_is_refused_as_soon_as_the_first_renews(store: Store) -> None:
    first = a_lease(store)
    first.take()
    store.meanwhile = first.renew
    with pytest.raises(PrepError, match=r"another run is writing to s3://bucket/set \(process "):
        a_lease(store).take()
    assert store.time < lease.SECONDS / 2
    first.require()


def test_a_lock_that_nobody_renews_is_taken_over(store: Store) -> None:
    dead = a_lease(store)
    dead.take()
    of_another_machine(store)
    second = a_lease(store)
    second.take()
    assert lease.SECONDS <= store.time < 2 * lease.SECONDS
    second.require()
    for _ in range(20):  # the one that only seemed dead
        with pytest.raises(PrepError, match=r"this one writes no more\. What is finished is kept"):
            dead.renew()
    dead.release()
    assert store.files, "the lock is not its own any more"
    second.renew()


def test_of_several_that_find_it_stale_one_takes_it_over(store: Store) -> None:
    a_lease(store).take()
    of_another_machine(store)
    swap, first = store.swap, a_lease(store)

    def another_is_faster(name: str, old: bytes, new: bytes) -> bool:
        store.swap = swap  # type: ignore[method-assign]
        first.take()
        return swap(name, old, new)

    store.swap = another_is_faster  # type: ignore[method-assign]
    with pytest.raises(PrepError, match="another run is writing"):
        a_lease(store).take()
    first.renew()


def test_a_process_of_this_machine_that_died_is_not_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getpid", lambda: 2**30)
    a_lease(store).take()
    monkeypatch.undo()
    if not json.loads(store.files["lock"])["machine"]:
        pytest.skip("this system does not tell which processes see each other")
    a_lease(store).take()
    assert store.time == 0


def test_a_lock_that_cannot_be_renewed_holds_for_its_time_only(store: Store) -> None:
    first = a_lease(store)
    first.take()
    store.time = lease.SECONDS - 1
    first.require()
    store.time += 1
    with pytest.raises(PrepError, match="was not renewed for 60 s"):
        first.require()


@pytest.mark.parametrize("lock", [b"", b"[]", b"\xff", b'{"pid": "x"}', b"[" * 10**5])
def test_a_damaged_lock_is_one_of_an_unknown_holder(store: Store, lock: bytes) -> None:
    store.files["lock"] = lock
    a_lease(store).take()
    assert store.time >= lease.SECONDS
    assert json.loads(store.files["lock"])["run"]
