from __future__ import annotations

import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from energon_prep.samples import Reject
from energon_prep.shards.head import file_sha256, note_files
from energon_prep.shards.ledger import load_rows, read_ledger, record
from energon_prep.storage import LocalStorage, Storage
from energon_prep.targets.serialize import dumps_pickle
from energon_prep.verifying import verify
from tests.verifying.edits import TAR, edit_json, flip, swap


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda root: (root / TAR).unlink(), f"{TAR}: it is in the ledger and missing"),
        (lambda root: flip(root / TAR, 600), f"{TAR}: its sha256 is"),
        (lambda root: flip(root / TAR, 0), f"{TAR}: it is cut, damaged or no (uncompressed) tar"),
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
            lambda root: edit_json(
                root / ".energon-prep/ledger/shard_000001.json", rejects={"a: b": 1}
            ),
            "its reasons are not those",
        ),
        (
            lambda root: edit_json(
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
            lambda root: edit_json(root / ".energon-prep/run.json", extra=1),
            ".energon-prep/run.json: it is not the file that was written",
        ),
        (
            lambda root: edit_json(root / ".energon-prep/ledger/shard_000001.json", notes={"x": 1}),
            ".energon-prep/ledger/shard_000001.json: it is not the entry that was written",
        ),
        (lambda root: swap(root, 0, 1), f"{TAR}: 'samples/sample_000000000': the key is none of"),
    ],
)
def test_what_is_wrong_with_tars_and_records_is_told(
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
    swap(root, 0, 1)
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


def test_an_empty_caption_that_breaks_the_contract_is_told(root: Path) -> None:
    name = ".energon-prep/empty_caption.pickle"
    (root / name).write_bytes(dumps_pickle(torch.full((1, 8), float("nan"))))
    note_files(LocalStorage(root), [name], again=True)
    (problem,) = verify(root).problems
    assert problem.startswith(f"{name}: in the place of a caption it breaks the contract")


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
