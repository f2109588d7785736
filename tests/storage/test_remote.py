from __future__ import annotations

import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from energon_prep.errors import PrepError, UsageError
from energon_prep.layout import entry_name, idx_name, rows_name, tar_name
from energon_prep.shards.ledger import LedgerEntry, finished
from energon_prep.shards.writer import ShardWriter
from energon_prep.storage import LocalStorage, remote
from energon_prep.storage.base import Storage, publish_bytes
from energon_prep.storage.patience import Patience, StoreError
from energon_prep.storage.remote import RemoteStorage
from energon_prep.storage.urls import scrubbed
from tests.storage.store import BUCKET, Line, s3_server

pytest.importorskip("moto", reason="the tests' own S3 is of moto")


KILLED = """
import os, signal, sys
from energon_prep.storage.remote import RemoteStorage
from tests.storage.test_remote import write_shard
put = RemoteStorage.put
def put_and_die(self, name, spool):
    put(self, name, spool)
    if name.endswith(".tar"):
        os.kill(os.getpid(), signal.SIGKILL)
RemoteStorage.put = put_and_die
with (storage := RemoteStorage(sys.argv[1])).locked():
    write_shard(storage)
"""


def write_shard(storage: Storage) -> LedgerEntry:
    with ShardWriter(storage, index=0, num_planned=3) as writer:
        for serial in range(3):
            writer.write(serial, [(None, {"json": b"{}", "pth": bytes([serial]) * 700})])
        return writer.finish()


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    with pytest.MonkeyPatch.context() as environment, s3_server(environment) as url:
        line = Line(url)
        environment.setenv("AWS_ENDPOINT_URL", line.url)
        yield line
        line.shutdown()
        line.server_close()


@pytest.fixture
def storage(line: Line, request: pytest.FixtureRequest) -> Iterator[RemoteStorage]:
    line.faults.clear()
    patience = Patience(first_wait=0.0, seconds=60)
    yield RemoteStorage(f"s3://{BUCKET}/{abs(hash(request.node.name))}", patience=patience)
    line.faults.clear()


def test_a_file_appears_whole_or_not_at_all(storage: RemoteStorage) -> None:
    of_a_run: Storage = storage
    publication = of_a_run.create("a.tar")
    publication.file.write(b"half")
    assert not of_a_run.exists("a.tar")
    publication.discard()
    assert of_a_run.names(".") == []
    publish_bytes(of_a_run, "sub/b.json", b"whole")
    publish_bytes(of_a_run, "sub/empty", b"")
    assert of_a_run.read("sub/b.json") == b"whole"
    with of_a_run.open("sub/b.json") as file:
        file.seek(2)
        assert file.read() == b"ole"
    assert of_a_run.size("sub/b.json") == 5
    assert of_a_run.size("sub/empty") == 0
    assert of_a_run.size("none") is None
    assert of_a_run.size("sub") is None
    assert of_a_run.exists("sub")
    assert (of_a_run.mtime_ns("sub/b.json") or 0) > 10**18
    assert of_a_run.names("sub") == ["b.json", "empty"]
    for _ in range(2):
        of_a_run.remove("sub/b.json")
    assert of_a_run.names("sub") == ["empty"]
    with pytest.raises(FileNotFoundError):
        of_a_run.read("sub/b.json")


def test_a_shard_has_the_bytes_that_it_has_in_a_folder(
    storage: RemoteStorage, tmp_path: Path
) -> None:
    local, there = LocalStorage(tmp_path), write_shard(storage)
    here = write_shard(local)
    assert (there.sha256, there.bytes) == (here.sha256, here.bytes)
    for name in (tar_name(0), idx_name(0), rows_name(0)):
        assert storage.read(name) == local.read(name), name
    assert finished(storage) == {0: there}


def test_killed_between_tar_and_ledger_entry_a_shard_is_made_again(storage: RemoteStorage) -> None:
    code = [sys.executable, "-c", KILLED, storage.url]
    killed = subprocess.run(code, cwd=Path(__file__).parents[2], timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert storage.names(".") == [tar_name(0)]
    assert not storage.exists(entry_name(0))
    assert finished(storage) == {}
    with storage.locked():  # of a process of this machine that died
        entry = write_shard(storage)
    assert finished(storage) == {0: entry}
    assert storage.names(".energon-prep") == []


def test_a_worker_process_gets_it(storage: RemoteStorage) -> None:
    publish_bytes(storage, "a", b"1")
    assert pickle.loads(pickle.dumps(storage)).read("a") == b"1"


def test_a_large_file_goes_in_parts(
    storage: RemoteStorage, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_PART", 5 * 2**20)
    data, before = os.urandom(11 * 2**20), line.num_puts
    publish_bytes(storage, "large", data)
    assert line.num_puts - before == 5, "begun, three parts, completed"
    assert hashlib.sha256(storage.read("large")).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("fault", ["500", "cut", "lose"])
@pytest.mark.parametrize("size", [100, 11 * 2**20])
def test_a_failing_line_is_tried_again(
    storage: RemoteStorage, line: Line, monkeypatch: pytest.MonkeyPatch, fault: str, size: int
) -> None:
    monkeypatch.setattr(remote, "_PART", 5 * 2**20)
    data = os.urandom(size)
    line.faults += ["", fault, fault] if size > 100 else [fault] * 3
    publish_bytes(storage, "file", data)
    assert line.faults == []
    assert storage.read("file") == data


def test_a_store_that_stays_away_stops_the_run(line: Line) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    patience = Patience(seconds=30, first_wait=5, now=lambda: now[0], sleep=sleep)
    storage = RemoteStorage(f"s3://{BUCKET}/away", patience=patience)
    line.faults += ["500"] * 1000
    with pytest.raises(StoreError, match=r"away/a: the store failed for 30 s.*what is finished"):
        publish_bytes(storage, "a", b"1")
    line.faults.clear()
    assert now[0] < 30
    assert not storage.exists("a")


def test_what_arrived_otherwise_is_sent_again(
    storage: RemoteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: Any = storage._files
    put, sent = files.put_file, list[str]()

    def spoil(source: str, path: str, **options: Any) -> None:
        put(source, path, **options)
        sent.append(path)
        if len(sent) < 3:
            files.pipe_file(path, [b"shor", b"other"][len(sent) - 1])

    monkeypatch.setattr(files, "put_file", spoil)
    publish_bytes(storage, "a", b"right")
    assert len(sent) == 3
    assert storage.read("a") == b"right"


def test_of_several_creators_one_is_first(storage: RemoteStorage, line: Line) -> None:
    line.faults += ["lose"]
    first = list[bytes]()

    def create(data: bytes) -> None:
        if storage.put_new("lock", data):
            first.append(data)

    creators = [threading.Thread(target=create, args=(b"%d" % n,)) for n in range(6)]
    for creator in creators:
        creator.start()
    for creator in creators:
        creator.join()
    assert first == [storage.read("lock")]


def test_of_several_that_replace_a_file_one_is_first(storage: RemoteStorage, line: Line) -> None:
    publish_bytes(storage, "lock", b"old")
    assert not storage.swap("lock", b"older", b"new")
    line.faults += ["lose"] * 2
    assert storage.swap("lock", b"old", b"new"), "an answer that was lost"
    read, reads = storage.read, list[bytes]()

    def overtaken(name: str) -> bytes:
        reads.append(read(name))
        if len(reads) == 1:
            storage._files.pipe_file(storage._path(name), b"another's")
        return reads[-1]

    storage.read = overtaken  # type: ignore[method-assign]
    assert not storage.swap("lock", b"new", b"newer")
    assert reads == [b"new", b"another's"]


def test_a_second_run_is_refused_and_the_first_writes_on(
    storage: RemoteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("energon_prep.storage.lease._RENEWED", 0.02)
    monkeypatch.setattr("energon_prep.storage.lease._LOOKED", 0.02)
    with storage.locked():
        with pytest.raises(PrepError, match="another run is writing"):
            RemoteStorage(storage.url).locked().__enter__()
        publish_bytes(storage, "a", b"1")
    assert storage.names(".energon-prep") == []
    with RemoteStorage(storage.url).locked():
        pass


def test_a_run_whose_lock_was_taken_writes_no_more(storage: RemoteStorage) -> None:
    with storage.locked():
        publish_bytes(storage, "a", b"1")
        assert storage._lease is not None
        storage.remove(".energon-prep/lock")
        with pytest.raises(PrepError, match="writes no more"):
            storage._lease.renew()
        with pytest.raises(PrepError, match="writes no more"):
            publish_bytes(storage, "a", b"2")
    assert storage.read("a") == b"1"


def test_no_bucket_and_no_entry_are_told(
    storage: RemoteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PrepError, match=r"s3://nobody/x/a: .*make the bucket"):
        publish_bytes(RemoteStorage("s3://nobody/x"), "a", b"1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    stranger = RemoteStorage(f"s3://{BUCKET}/x")
    for ask in (lambda: publish_bytes(stranger, "a", b"1"), lambda: stranger.names(".")):
        with pytest.raises(PrepError, match=r"the store refuses access .*by environment") as told:
            ask()
        assert "wrong-secret" not in str(told.value)


@pytest.mark.parametrize(
    "url", ["s3://key:secret@bucket/x", "s3://bucket/x?X-Amz-Signature=secret"]
)
def test_a_url_with_a_secret_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError, match="by environment or profile") as told:
        RemoteStorage(url)
    assert "secret" not in str(told.value)
    assert scrubbed(f"cannot reach http://me:secret@host/{url}").count("secret") == 0


def test_what_s3_holds_is_read_and_written_through_msc(
    storage: RemoteStorage, line: Line, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = {"base_path": BUCKET, "endpoint_url": line.url, "region_name": "us-east-1"}
    profiles = {"tests": {"storage_provider": {"type": "s3", "options": options}}}
    (tmp_path / "msc.json").write_text(json.dumps({"profiles": profiles}))
    monkeypatch.setenv("MSC_CONFIG", str(tmp_path / "msc.json"))
    through = RemoteStorage(storage.url.replace(f"s3://{BUCKET}", "msc://tests"))
    entry = write_shard(through)
    assert finished(storage) == finished(through) == {0: entry}
    with through.open(entry.shard) as file, storage.open(entry.shard) as same:
        assert file.read() == same.read()
    assert through.size("none") is None
    assert through.put_new("lock", b"1")
    assert not through.put_new("lock", b"2")
    assert through.swap("lock", b"1", b"3")
    assert storage.read("lock") == b"3"


def test_any_file_system_of_fsspec_will_do() -> None:
    storage = RemoteStorage("memory://set")
    publish_bytes(storage, "a", b"1")
    assert storage.read("a") == b"1"
    assert storage.names(".") == ["a"]
    assert not storage.put_new("a", b"2")
    with pytest.raises(UsageError, match="nothing here reads and writes nonsense://"):
        RemoteStorage("nonsense://set").read("a")
