from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import energon_prep
from energon_prep.errors import PrepError
from energon_prep.storage import LocalStorage, publish_bytes

HOLD = """
import sys, time
from pathlib import Path
from energon_prep.storage import LocalStorage
storage = LocalStorage(Path(sys.argv[1]))
with storage.locked():
    publication = storage.create("half.tar")
    publication.file.write(b"x" * 100)
    publication.file.flush()
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    publication = storage.create("a.tar")
    publication.file.write(b"half")
    assert not storage.exists("a.tar")
    publication.discard()
    assert storage.names(".") == []
    publish_bytes(storage, "sub/b.json", b"whole")
    assert storage.read("sub/b.json") == b"whole"
    assert storage.size("sub/b.json") == 5
    assert storage.size("none") is None
    assert storage.names("sub") == ["b.json"]
    assert storage.names(".energon-prep/tmp") == []


def test_an_error_while_writing_publishes_nothing(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    publish_bytes(storage, "a", b"old")
    with pytest.raises(TypeError):
        publish_bytes(storage, "a", "no bytes")  # type: ignore[arg-type]
    assert storage.read("a") == b"old"
    assert storage.names(".energon-prep/tmp") == []


def test_a_second_run_is_refused_and_a_dead_one_is_not_in_the_way(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        storage = LocalStorage(tmp_path)
        with (
            pytest.raises(
                PrepError, match=rf"another run is writing to .* \(process {holder.pid} on "
            ),
            storage.locked(),
        ):
            pass
        assert len(storage.names(".energon-prep/tmp")) == 1, (
            "the refused run must not touch the other's files"
        )
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with storage.locked():
            assert storage.names(".energon-prep/tmp") == [], (
                "what the dead run left half-written is removed"
            )
            assert json.loads(storage.read(".energon-prep/lock"))["pid"] == os.getpid()
    assert not storage.exists("half.tar")


def test_a_run_that_fails_and_wrote_nothing_leaves_nothing(tmp_path: Path) -> None:
    for dest in (tmp_path / "new" / "dst", tmp_path):
        with pytest.raises(RuntimeError), LocalStorage(dest).locked():
            raise RuntimeError
        assert list(tmp_path.iterdir()) == []
    storage = LocalStorage(tmp_path)
    with pytest.raises(RuntimeError), storage.locked():
        publish_bytes(storage, ".energon-prep/run.json", b"{}")
        raise RuntimeError
    assert storage.names(".energon-prep") == ["lock", "run.json"]


def test_a_lock_that_another_run_removes_meanwhile_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, flock = tmp_path / ".energon-prep/lock", fcntl.flock
    removed: list[Path] = []

    def remove_once(*arguments: Any) -> None:
        if not removed:
            removed.append(lock)
            lock.unlink()
        flock(*arguments)

    monkeypatch.setattr("fcntl.flock", remove_once)
    with LocalStorage(tmp_path).locked():
        assert removed
        with pytest.raises(PrepError, match="another run"), LocalStorage(tmp_path).locked():
            raise AssertionError("two runs have the lock")
        assert lock.exists()


def test_an_unwritable_destination_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(
            PrepError, match=r"cannot write .*: make it writable and run the same command again"
        ),
        LocalStorage(tmp_path / "file" / "dst").locked(),
    ):
        pass


def test_a_destination_of_somebody_else_says_what_to_do(tmp_path: Path) -> None:
    dest = tmp_path / "dst"
    dest.mkdir(mode=0o555)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)  # root may write anywhere
        with pytest.raises(PrepError, match=r"cannot write .*Permission denied: make it writable"):
            LocalStorage(dest).locked().__enter__()
    finally:
        os.seteuid(user)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_says_what_to_do(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    (tmp_path / ".energon-prep" / "tmp").mkdir(parents=True)
    (tmp_path / ".energon-prep" / "tmp" / f"{os.getpid()}-a").symlink_to("/dev/full")
    with pytest.raises(
        PrepError, match=r"No space left on device: make room and run the same command again"
    ):
        publish_bytes(storage, "a", b"x")
    assert not storage.exists("a")


@pytest.mark.parametrize(
    "place",
    [
        *(".energon-prep", ".energon-prep/tmp", ".energon-prep/lock", ".energon-prep/ledger"),
        *(".nv-meta", ".nv-meta/.energon-prep", ".nv-meta/.energon-prep/staging"),
    ],
)
def test_links_out_of_a_dataset_are_refused_and_not_followed(tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("text")
    link = tmp_path / "set" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(outside / "precious" if place.endswith("lock") else outside)
    with pytest.raises(PrepError, match="is a link"), LocalStorage(tmp_path / "set").locked():
        pass
    assert [path.read_text() for path in outside.iterdir()] == ["text"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with (
        pytest.raises(PrepError, match=r"cannot lock files .*Lustre: -o flock"),
        LocalStorage(tmp_path).locked(),
    ):
        raise AssertionError("it has no lock")


def test_nothing_is_written_or_removed_behind_a_linked_folder(tmp_path: Path) -> None:
    outside, storage = tmp_path / "outside", LocalStorage(tmp_path / "set")
    outside.mkdir()
    (outside / "file").write_text("precious")
    storage.root.mkdir()
    (storage.root / "folder").symlink_to(outside)
    for change in (storage.remove, storage.create):
        with pytest.raises(PrepError, match="folder is a link"):
            change("folder/file")
    assert [path.read_text() for path in outside.iterdir()] == ["precious"]


@pytest.mark.parametrize(
    "place",
    [
        *("shard_000000.tar", ".energon-prep/run.json", ".energon-prep/ledger/shard_000000.json"),
        *(".nv-meta/split.yaml", ".nv-meta/.energon-prep/lock"),
    ],
)
def test_what_is_no_file_is_refused_by_every_verb_and_not_waited_for(
    tmp_path: Path, place: str
) -> None:
    pipe = tmp_path / "set" / place
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    with pytest.raises(PrepError, match="is a pipe"), LocalStorage(tmp_path / "set").locked():
        pass
    for verb in (energon_prep.verify, energon_prep.index):
        with pytest.raises(PrepError, match="is a pipe"):
            verb(tmp_path / "set")
