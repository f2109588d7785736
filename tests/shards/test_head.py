from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from energon_prep.errors import PrepError
from energon_prep.layout import LEDGER_HEAD, PLAN, RUN
from energon_prep.shards import head
from energon_prep.shards.head import (
    Head,
    begin_head,
    forget_entries,
    note_files,
    publish_noted,
    read_head,
    seal,
)
from energon_prep.shards.ledger import LedgerEntry
from energon_prep.storage import LocalStorage, Storage, publish_bytes


def entry(index: int, **fields: int) -> LedgerEntry:
    values = {"num_planned": 1, "num_written": 1, "num_samples": 1, "num_rejected": 0}
    values |= {"num_parts": 3, "bytes": 9, "rows_bytes": 9, "mtime_ns": 1, **fields}
    return LedgerEntry(index=index, shard="a", sha256="", rejects={}, **values)


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    storage = LocalStorage(tmp_path)
    publish_bytes(storage, PLAN, b"plan")
    begin_head(storage, [PLAN])
    return storage


def the_head(storage: LocalStorage) -> Head:
    found = read_head(storage)
    assert found is not None
    return found


def test_a_file_that_was_changed_does_not_fit(storage: LocalStorage) -> None:
    publish_noted(storage, RUN, b"run")
    assert all(the_head(storage).fits(storage, name) for name in (PLAN, RUN))
    publish_bytes(storage, RUN, b"ran")
    assert not the_head(storage).fits(storage, RUN)
    note_files(storage, [RUN])
    assert not the_head(storage).fits(storage, RUN)
    note_files(storage, [RUN], again=True)
    assert the_head(storage).fits(storage, RUN)


@pytest.mark.parametrize("stopped_at", [0, 1, 2])
def test_a_file_fits_wherever_its_replacement_is_stopped(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch, stopped_at: int
) -> None:
    publish_noted(storage, RUN, b"old")
    calls: list[str] = []

    def publish_or_stop(storage: Storage, name: str, data: bytes) -> None:
        if len(calls) == stopped_at:
            raise KeyboardInterrupt
        calls.append(name)
        publish_bytes(storage, name, data)

    monkeypatch.setattr(head, "publish_bytes", publish_or_stop)
    with pytest.raises(KeyboardInterrupt):
        publish_noted(storage, RUN, b"new")
    monkeypatch.undo()
    assert the_head(storage).fits(storage, RUN)
    publish_noted(storage, RUN, b"new")
    assert the_head(storage).files[RUN] == (hashlib.sha256(b"new").hexdigest(),)


def test_of_an_entry_that_was_sealed_another_does_not_fit(storage: LocalStorage) -> None:
    other = dataclasses.replace(entry(0), rows_bytes=8)
    assert the_head(storage).fits_entry(other)
    seal(storage, [entry(0), entry(1)])
    assert not the_head(storage).fits_entry(other)
    assert the_head(storage).fits_entry(dataclasses.replace(entry(0), mtime_ns=7))
    seal(storage, [other])
    assert not the_head(storage).fits_entry(other)
    forget_entries(storage, {1})
    seal(storage, [other, entry(1)])
    assert the_head(storage).fits_entry(other)


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-9], lambda data: b"[]", lambda data: data.replace(b"[", b"{")]
)
def test_a_damaged_head_is_told(storage: LocalStorage, spoil: Callable[[bytes], bytes]) -> None:
    path = storage.root / LEDGER_HEAD
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(PrepError, match=r"ledger\.json is damaged .*verify --mark-bad"):
        read_head(storage)
