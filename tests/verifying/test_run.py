from __future__ import annotations

import gc
import json
import os
import pickle
import shutil
import sqlite3
import tarfile
import threading
import time
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml

from energon_prep.errors import PrepError
from energon_prep.indexing import index
from energon_prep.samples import Reject
from energon_prep.shards.head import file_sha256, note_files
from energon_prep.shards.ledger import load_rows, read_ledger, record
from energon_prep.storage import LocalStorage, Storage
from energon_prep.targets.serialize import dumps_pickle, dumps_pth
from energon_prep.verifying import verify
from tests.verifying.data import read_tar, rewrite_tar, write_dit

TAR = "shard_000001.tar"
KEY = "samples/sample_000000005"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_dit(tmp_path_factory.mktemp("sound") / "set", shards=4, all_rejected=2)
    index(root, split="2,1,0")
    return root


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / "set")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sound_dataset_is_all_right(sound: Path, workers: int) -> None:
    told: list[tuple[int, int]] = []
    report = verify(sound, workers=workers, progress=lambda done, total: told.append((done, total)))
    assert report.problems == report.notes == ()
    assert (report.ok, report.num_problems) == (True, 0)
    assert (report.shards, report.samples, report.parts) == (3, 9, 27)
    assert report.accounted == {"planned": 16, "written": 9, "rejected": 7}
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert json.loads(json.dumps(report.to_dict()))["samples"] == 9


def test_a_dataset_without_index_is_all_right_with_a_note(tmp_path: Path) -> None:
    report = verify(write_dit(tmp_path / "set"))
    assert report.ok
    assert report.notes == ("the dataset is not indexed yet: run energon-prep index",)


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def _sql(root: Path, statement: str) -> None:
    with closing(sqlite3.connect(root / ".nv-meta" / "index.sqlite")) as connection, connection:
        connection.execute(statement)


def _edit_json(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def _edit_split(root: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = root / ".nv-meta" / "split.yaml"
    config = yaml.safe_load(path.read_text())
    edit(config)
    path.write_text(yaml.safe_dump(config))


def _edit_dataset(root: Path, old: str, new: str) -> None:
    path = root / ".nv-meta" / "dataset.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _swap(root: Path, one: int, other: int) -> None:
    """Two shards take each other's place, with all that is recorded of them."""
    folders = [(root, ".tar"), (root, ".tar.idx"), (root / ".energon-prep/ledger", ".rows")]
    for folder, end in [*folders, (root / ".energon-prep/rejects", ".jsonl")]:
        a, b = (folder / f"shard_{number:06d}{end}" for number in (one, other))
        a.rename(root / "aside")
        b.rename(a)
        (root / "aside").rename(b)
    paths = [root / f".energon-prep/ledger/shard_{number:06d}.json" for number in (one, other)]
    entries = [json.loads(path.read_text()) for path in paths]
    for path, mine, theirs in zip(paths, entries, reversed(entries), strict=True):
        path.write_text(json.dumps({**theirs, "index": mine["index"], "shard": mine["shard"]}))


def _other_counts(root: Path) -> None:
    path = root / ".nv-meta" / ".info.json"
    info = json.loads(path.read_text())
    _edit_json(path, shard_counts={**info["shard_counts"], TAR: 4})


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda root: (root / TAR).unlink(), f"{TAR}: it is in the ledger and missing"),
        (lambda root: _flip(root / TAR, 600), f"{TAR}: its sha256 is"),
        (lambda root: _flip(root / TAR, 0), f"{TAR}: it is cut, damaged or no (uncompressed) tar"),
        (lambda root: os.truncate(root / TAR, 3000), f"{TAR}: it has 3000 bytes and"),
        (lambda root: os.truncate(root / TAR, 3000), f"{TAR}: it is cut"),
        (
            lambda root: os.truncate(root / TAR, 3000),
            f"{TAR}: it has 1 samples, and 3 were written",
        ),
        (lambda root: shutil.copy(root / TAR, root / "copy.tar"), "copy.tar: this stray tar"),
        (
            lambda root: (root / ".energon-prep/plan.jsonl").unlink(),
            ".energon-prep/plan.jsonl: it is missing",
        ),
        (
            lambda root: (root / ".energon-prep/plan.jsonl").write_text("{"),
            ".energon-prep/plan.jsonl: it cannot be",
        ),
        (
            lambda root: (root / ".energon-prep/ledger/shard_000002.json").unlink(),
            "shard_000002: planned and not fin",
        ),
        (
            lambda root: (root / ".energon-prep/ledger/shard_000001.json").write_text("{"),
            "the ledger cannot be read",
        ),
        (
            lambda root: (root / ".energon-prep/rejects/shard_000002.jsonl").unlink(),
            "has 0 rejects, in the ledger 4",
        ),
        (
            lambda root: (root / ".energon-prep/rejects/shard_000002.jsonl").write_text("[]\n"),
            "it cannot be read",
        ),
        (
            lambda root: _edit_json(
                root / ".energon-prep/ledger/shard_000001.json", rejects={"a: b": 1}
            ),
            "its reasons are not those",
        ),
        (
            lambda root: _edit_json(
                root / ".energon-prep/ledger/shard_000001.json", num_planned=5, num_written=4
            ),
            "shard_000001: 4 samples are planned, in the ledger 5",
        ),
        (lambda root: (root / ".energon-prep/run.json").unlink(), "the contract is not known"),
        (
            lambda root: (root / ".energon-prep/empty_caption.pickle").write_bytes(b"x"),
            "empty_caption.pickle: it is not the file that was written",
        ),
        (
            lambda root: _edit_dataset(root, "target: dit", "a: b"),
            "subflavor target is missing, which is 'dit'",
        ),
        (
            lambda root: _edit_dataset(root, "target: dit", "target: wan"),
            "subflavor target is 'wan', not 'dit'",
        ),
        (
            lambda root: _edit_dataset(root, "CrudeWebdataset", "CaptioningWebdataset"),
            "it is of megatron.energon:CaptioningWebdataset, not of megatron.energon:CrudeWebdata",
        ),
        (
            lambda root: _edit_split(root, lambda split: split["split_parts"].pop("train")),
            "it has no split train, which training reads",
        ),
        (
            lambda root: _edit_split(root, lambda split: split["split_parts"].update(text=[])),
            "Energon knows no split 'text'",
        ),
        (
            lambda root: (root / ".nv-meta/.info.yaml").write_text("shard_counts: {}"),
            ".nv-meta/.info.yaml: its counts are not those of .info.json",
        ),
        (
            lambda root: _sql(root, "PRAGMA user_version = 7"),
            "index.sqlite: it was not made of the dataset's tars",
        ),
        (
            lambda root: _sql(root, "DROP INDEX idx_samples_by_tar_and_idx"),
            "index.sqlite: it is not as Energon makes it",
        ),
        (
            lambda root: shutil.rmtree(root / ".energon-prep/ledger"),
            ".energon-prep/ledger: the ledger is missing",
        ),
        (
            lambda root: (root / ".energon-prep/ledger.json").unlink(),
            ".energon-prep/ledger.json: it is missing",
        ),
        (
            lambda root: (root / ".energon-prep/ledger.json").write_text("{"),
            ".energon-prep/ledger.json is damaged",
        ),
        (
            lambda root: _edit_json(root / ".energon-prep/run.json", extra=1),
            ".energon-prep/run.json: it is not the file that was written",
        ),
        (
            lambda root: _edit_json(
                root / ".energon-prep/ledger/shard_000001.json", notes={"x": 1}
            ),
            ".energon-prep/ledger/shard_000001.json: it is not the entry that was written",
        ),
        (lambda root: _swap(root, 0, 1), f"{TAR}: 'samples/sample_000000000': the key is none of"),
        (
            lambda root: _edit_dataset(root, "subflavors:", "- ["),
            ".nv-meta/dataset.yaml: it cannot be read",
        ),
        (
            lambda root: (root / ".nv-meta/split.yaml").unlink(),
            ".nv-meta/split.yaml: it is missing",
        ),
        (
            lambda root: (root / ".nv-meta/split.yaml").write_text("- ["),
            ".nv-meta/split.yaml: it cannot be read",
        ),
        (
            lambda root: (root / ".nv-meta/.info.json").write_text("?"),
            ".nv-meta/.info.json: it cannot be read",
        ),
        (
            lambda root: (root / ".nv-meta/index.sqlite").write_text("?"),
            ".nv-meta/index.sqlite: it cannot be read",
        ),
        (_other_counts, f".nv-meta/.info.json: {TAR} has 4 samples, in the ledger 3"),
        (_other_counts, ".nv-meta/index.sqlite: it has 9 samples, .info.json 10"),
        (
            lambda root: _edit_split(root, lambda split: split["split_parts"]["val"].clear()),
            "is not in it",
        ),
        (
            lambda root: _edit_split(root, lambda split: split["split_parts"]["val"].append(TAR)),
            "is in it 2 times",
        ),
        (
            lambda root: _edit_split(
                root, lambda split: split["split_parts"]["val"].append("x.tar")
            ),
            "x.tar is in it",
        ),
        (
            lambda root: _edit_split(root, lambda split: split["exclude"].append(TAR)),
            "takes samples out of training",
        ),
        (lambda root: (root / f"{TAR}.idx").unlink(), f"{TAR}: {TAR}.idx: it cannot be read"),
        (lambda root: _flip(root / f"{TAR}.idx", 9), f"{TAR}: {TAR}.idx: sample 1 begins at"),
        (
            lambda root: _flip(root / f"{TAR}.idx", 25),
            f"{TAR}: {TAR}.idx: it does not end where the tar does",
        ),
        (
            lambda root: _sql(root, "UPDATE samples SET sample_key = 'x' WHERE rowid = 5"),
            "index.sqlite: sample 1 is 'x'",
        ),
        (
            lambda root: _sql(root, "UPDATE samples SET byte_size = 1 WHERE rowid = 6"),
            "index.sqlite: sample 2 ends at",
        ),
        (
            lambda root: _sql(
                root, "UPDATE sample_parts SET content_byte_size = 1 WHERE rowid = 15"
            ),
            "has in the tar",
        ),
        (
            lambda root: _sql(root, "DELETE FROM sample_parts WHERE rowid = 27"),
            "index.sqlite: sample 2 has in the tar",
        ),
        (
            lambda root: _sql(root, "INSERT INTO sample_parts VALUES (1, 2, 'zip', 999999, 1)"),
            "index.sqlite: it has more samples or parts",
        ),
    ],
)
def test_what_is_wrong_with_the_files_is_told(
    root: Path, spoil: Callable[[Path], object], problem: str
) -> None:
    spoil(root)
    report = verify(root)
    assert not report.ok
    assert [found for found in report.problems if problem in found], report.problems


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("stem", ["shard_000000", "shard_000001", "shard_000002"])
def test_spoilt_rejects_are_told_once_with_a_tar_and_without(
    root: Path, stem: str, deep: bool
) -> None:
    """Of a tar that is missing, of one that is there, and of a shard that has none."""
    if stem == "shard_000000":
        (root / f"{stem}.tar").unlink()
    path = root / f".energon-prep/rejects/{stem}.jsonl"
    path.write_bytes(path.read_bytes() + b"\n")
    report = verify(root, deep=deep)
    told = [problem for problem in report.problems if "rejects/" in problem]
    assert told == [
        f".energon-prep/rejects/{stem}.jsonl: it cannot be read (ValueError: its sha256 is not the "
        "ledger's)"
    ]
    assert report.repairable


def test_a_file_of_rejects_is_read_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def note(storage: Storage, name: str) -> str:
        read.append(name)
        return file_sha256(storage, name)

    monkeypatch.setattr("energon_prep.verifying.identity.file_sha256", note)
    assert verify(root, workers=1).ok
    assert sorted(read) == [f".energon-prep/rejects/shard_{n:06d}.jsonl" for n in range(4)]


def test_a_quick_look_sees_shards_that_were_swapped(root: Path) -> None:
    _swap(root, 0, 1)
    (root / ".energon-prep/ledger.json").unlink()  # which would tell it too
    told = "\n".join(verify(root, deep=False).problems)
    assert f"{TAR}: 'samples/sample_000000000': the key is none of the shard's" in told
    assert f"{TAR}: rejected number 3 is none of the planned 4 to 7" in told


def test_samples_that_are_nowhere_and_samples_that_are_twice_are_told(root: Path) -> None:
    """Of the same number, which totals do not tell."""
    entry = (read_ledger(root) or [])[1]
    storage = LocalStorage(root)
    reject = Reject(serial=5, key="k", source="s", stage="read", reason="gone")
    rows = load_rows(storage, entry)
    record(storage, entry, rows, [reject])
    told = "\n".join(verify(root, deep=False).problems)
    assert f"{TAR}: number 5 is accounted for twice" in told
    assert f"{TAR}: planned number 7 is neither written nor rejected" in told


def test_an_edited_dataset_yaml_is_a_note(root: Path) -> None:
    _edit_dataset(root, "subflavors:", "subflavors:\n  mine: x")
    report = verify(root)
    assert report.ok
    assert report.notes == (".nv-meta/dataset.yaml was edited by hand, or by other tools",)


def test_an_empty_caption_that_breaks_the_contract_is_told(root: Path) -> None:
    name = ".energon-prep/empty_caption.pickle"
    (root / name).write_bytes(dumps_pickle(torch.full((1, 8), float("nan"))))
    note_files(LocalStorage(root), [name], again=True)
    (problem,) = verify(root).problems
    assert problem.startswith(f"{name}: in the place of a caption it breaks the contract")


def test_a_part_of_20_gib_is_a_problem(tmp_path: Path) -> None:
    """Of a sparse file, which takes no room."""
    root = tmp_path / "set"
    root.mkdir()
    with (root / "a.tar").open("wb") as file:
        for part in ("json", "pickle", "pth", "mp4"):
            member = tarfile.TarInfo(f"a.{part}")
            member.size = 20 * 2**30
            file.write(member.tobuf(tarfile.GNU_FORMAT))
            file.seek(member.size, os.SEEK_CUR)
        file.write(bytes(1024))
    problems = verify(root, target="dit").problems
    parts = [f"a.tar: a.{part}: it has {20 * 2**30} bytes" for part in ("json", "pickle", "pth")]
    assert [problem.partition(": a part")[0] for problem in problems] == parts


@pytest.mark.parametrize(
    "name",
    [
        *(".nv-meta/.info.json", ".nv-meta/.info.yaml", ".nv-meta/split.yaml", f"{TAR}.idx"),
        *(".nv-meta/dataset.yaml", ".energon-prep/rejects/shard_000001.jsonl"),
        ".energon-prep/ledger/shard_000001.rows",
    ],
)
def test_a_record_that_grew_is_a_problem_and_takes_no_memory(root: Path, name: str) -> None:
    os.truncate(root / name, 2**29)
    tracemalloc.start()
    report = verify(root, deep=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [problem for problem in report.problems if Path(name).name in problem]
    assert peak < 2**26


class _Harmful:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch /tmp/energon-prep-was-here",)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda parts: parts["pth"].view(-1)[:1].fill_(float("nan")), f"{TAR}: {KEY}: pth has NaN"),
        (
            lambda parts: parts.update(pth=parts["pth"][:, 0]),
            f"{TAR}: {KEY}: pth has shape [16, 4, 6]",
        ),
        (
            lambda parts: parts.update(pickle=torch.ones(513, 8)),
            f"{TAR}: {KEY}: pickle has 513 tokens",
        ),
        (lambda parts: parts.pop("pickle"), f"{TAR}: {KEY}: part 'pickle' is missing"),
        (
            lambda parts: parts.update(pth=dumps_pth(parts["pth"])[:-90]),
            f"{TAR}: {KEY}.pth: not a file that torch.save",
        ),
        (lambda parts: parts.update(json=b"{"), f"{TAR}: {KEY}.json: not JSON"),
        (
            lambda parts: parts.update(pickle=pickle.dumps(_Harmful())),
            f"{TAR}: {KEY}.pickle: the pickle asks for posix",
        ),
    ],
)
def test_what_is_wrong_with_a_part_is_told(
    tmp_path: Path, change: Callable[[Any], object], problem: str
) -> None:
    root = write_dit(tmp_path / "set", change=lambda serial, parts: serial == 5 and change(parts))
    report = verify(root)
    assert [found for found in report.problems if found.startswith(problem)], report.problems
    assert report.num_problems == 1
    assert not Path("/tmp/energon-prep-was-here").exists()


def _foreign(root: Path) -> Path:
    write_dit(root)
    shutil.rmtree(root / ".energon-prep")
    return root


def test_a_dataset_of_others_is_checked_against_the_target_named(tmp_path: Path) -> None:
    root = _foreign(tmp_path / "set")
    report = verify(root, target="dit")
    assert (report.ok, report.samples, report.accounted) == (True, 9, {})
    assert "no ledger" in report.notes[0]
    report = verify(root, target="nemo-dit")
    assert report.num_problems == 9
    assert "part '.json' is missing" in report.problems[0]


def test_what_breaks_keys_in_a_dataset_of_others_is_told(tmp_path: Path) -> None:
    root = _foreign(tmp_path / "set")
    one, *others = (read_tar(root / f"shard_00000{i}.tar") for i in range(3))
    rewrite_tar(root / "again.tar", one[:3])
    rewrite_tar(
        root / "mixed.tar",
        [
            (f"{'ab'[i % 2]}.{part}", data)
            for i, (part, data) in enumerate(
                (name.rpartition(".")[2], data) for name, data in others[0][:3] for _ in range(2)
            )
        ],
    )
    rewrite_tar(
        root / "double.tar",
        [("c" + name[-5:], data) for name, data in [*others[1][:1], *others[1][:3]]],
    )
    rewrite_tar(root / "hollow.tar", [])
    (root / "cut.tar").write_bytes((root / "again.tar").read_bytes()[:-10240])
    problems = "\n".join(verify(root, target="dit").problems)
    assert "shard_000000.tar: samples/sample_000000000: the key is in again.tar too" in problems
    assert "mixed.tar: a: the key occurs twice, or its parts are not adjacent" in problems
    assert "double.tar: " in problems
    assert "it occurs twice" in problems
    assert "hollow.tar: it holds no sample" in problems
    assert "cut.tar: it " in problems


def test_many_problems_are_counted_and_some_told(tmp_path: Path) -> None:
    root = write_dit(tmp_path / "set", shards=60, change=lambda _, parts: parts.pop("pth"))
    report = verify(root)
    assert report.num_problems == 180
    assert len(report.problems) == 101
    assert report.problems[-1] == "and 80 more"


def test_where_nothing_can_be_verified_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PrepError, match="not a folder"):
        verify(tmp_path / "absent")
    with pytest.raises(PrepError, match=r"no \.tar files"):
        verify(tmp_path)
    root = _foreign(tmp_path / "set")
    with pytest.raises(PrepError, match="--target"):
        verify(root)
    with pytest.raises(PrepError, match="there is no target 'x'"):
        verify(root, target="x")
    with pytest.raises(PrepError, match="workers 0"):
        verify(root, workers=0)


def test_memory_does_not_grow_with_the_dataset(tmp_path: Path) -> None:
    peaks = []
    for shards in (4, 100):
        root = write_dit(tmp_path / str(shards), shards=shards)
        gc.collect()
        gc.freeze()  # so that collecting the little that comes after it is quick
        tracemalloc.start()
        assert verify(root, progress=lambda *_: gc.collect()).ok
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        gc.unfreeze()
    data = sum(tar.stat().st_size for tar in root.glob("*.tar"))
    # the ledger's entries, some 1 KB a shard
    assert peaks[1] - peaks[0] < data / 3


def test_a_worker_that_dies_is_told(tmp_path: Path) -> None:
    root = _foreign(tmp_path / "set")
    for name in ("a.tar", "b.tar"):
        os.mkfifo(root / name)  # holds whoever opens it
    spawned: list[psutil.Process] = []

    def kill() -> None:
        deadline = time.monotonic() + 60
        while not spawned and time.monotonic() < deadline:
            spawned.extend(
                child
                for child in psutil.Process().children()
                if "spawn_main" in " ".join(child.cmdline())
            )
            time.sleep(0.05)
        spawned[0].kill()

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(PrepError, match="use fewer workers"):
        verify(root, target="dit", workers=2)
    thread.join()
