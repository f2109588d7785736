"""A dataset that somebody made to do harm: nothing of ours runs it, follows it out of its folder or
breaks on it.
"""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import energon_prep
from energon_prep.curate.repair import repair
from energon_prep.errors import PrepError
from energon_prep.layout import PLAN
from energon_prep.loading import first_batch
from energon_prep.shards.ledger import read_ledger
from tests.datasets import Poison, write_dataset
from tests.fuzz.seeds import LEDGER, REJECTS, RUN, bomb_pickle, yaml_bombs
from tests.runs import prep
from tests.verifying.data import write_dit


def tree(folder: Path) -> dict[str, object]:
    """What is in a folder; of links, where they lead."""
    return {
        path.relative_to(folder).as_posix(): path.readlink()
        if path.is_symlink()
        else path.is_dir() or path.read_bytes()
        for path in folder.rglob("*")
    }


def test_poison_runs_nowhere(tmp_path: Path) -> None:
    marker = tmp_path / "outside" / "ran"
    marker.parent.mkdir()
    parts = {part: pickle.dumps(Poison(marker)) for part in ("pth", "pickle", "json")}
    dataset = write_dataset(tmp_path / "set", num_samples=6, replace=dict.fromkeys(range(6), parts))
    (dataset / ".energon-prep" / "empty_caption.pickle").write_bytes(pickle.dumps(Poison(marker)))
    report = energon_prep.verify(dataset, target="dit", deep=True)
    assert any("posix.system" in problem for problem in report.problems)
    shutil.rmtree(dataset / ".energon-prep")
    repair(dataset, tmp_path / "new")
    energon_prep.index(tmp_path / "new", workers=1)
    with pytest.raises(ValueError, match=r"posix\.system|torch\.save|not JSON"):
        first_batch(tmp_path / "new", batch_size=2)
    assert not list(marker.parent.iterdir())


def test_tuples_that_multiply_end_verify_and_loading_at_once(tmp_path: Path) -> None:
    dataset = write_dataset(
        tmp_path / "set", num_samples=2, num_shards=1, replace={0: {"pickle": bomb_pickle()}}
    )
    shutil.rmtree(dataset / ".energon-prep")
    assert not energon_prep.verify(dataset, target="dit", deep=True).ok
    with pytest.raises(ValueError, match="000000000"):
        first_batch(dataset, batch_size=1)


def entry(**changes: Any) -> Callable[[Path], None]:
    """Change fields of a ledger entry."""

    def tamper(root: Path) -> None:
        fields = json.loads((root / LEDGER).read_bytes())
        (root / LEDGER).write_text(json.dumps(fields | changes))

    return tamper


def put(name: str, data: bytes) -> Callable[[Path], None]:
    def tamper(root: Path) -> None:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(data)

    return tamper


def link(name: str, to: str) -> Callable[[Path], None]:
    def tamper(root: Path) -> None:
        path = root / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.symlink_to(root.parent / to)

    return tamper


TAMPERED = {
    "a tar elsewhere": entry(shard="../outside/x.tar"),
    "an absolute tar": entry(shard="/etc/passwd"),
    "another shard's tar": entry(shard="shard_000001.tar"),
    "a negative index": entry(index=-1),
    "a path as index": entry(index="../../x"),
    "huge numbers": entry(bytes=10**30, num_samples=10**30),
    "text for numbers": entry(num_planned="4", num_written="3", num_rejected="1"),
    "no rejects": entry(rejects=[["a", 1]]),
    "a deep ledger": put(LEDGER, b"[" * 100_000),
    "a deep plan": put(PLAN, b"[" * 100_000),
    "a plan of lists": put(
        PLAN, b'{"index": [], "first_serial": 0, "pieces": [[1, [], {}]], "digest": 5}\n'
    ),
    "a plan of nothing": put(
        PLAN, b'{"index": 0, "first_serial": 0, "pieces": [], "digest": ""}\n'
    ),
    "deep rejects": put(REJECTS, b"[" * 100_000),
    "a deep run": put(RUN, b"[" * 100_000),
    "a run of lists": put(
        RUN, b'{"schema": 2, "target": [], "recipe": 1, "runtime": {"torch_threads": "x"}}'
    ),
    "an infinite index": put(
        ".nv-meta/.info.json", b'{"shard_counts": {"shard_000000.tar": 1e999}}'
    ),
    "a split bomb": put(
        ".nv-meta/split.yaml", yaml_bombs()["laughs"] + b"exclude: *m\nsplit_parts: {train: *m}\n"
    ),
    "a dataset bomb": put(".nv-meta/dataset.yaml", yaml_bombs()["merges"]),
    "a link for the records": link(".energon-prep", "outside"),
    "a link for the ledger": link(".energon-prep/ledger", "outside"),
    "a link for what is unfinished": link(".energon-prep/tmp", "outside"),
    "a link for the lock": link(".energon-prep/lock", "outside/precious"),
    "a link for the index": link(".nv-meta", "outside"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_tampered_dataset_is_told_and_leads_nowhere(what: str, tmp_path: Path) -> None:
    root = write_dit(tmp_path / "set", shards=2)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("text")
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.json").write_text("{}")
    (source / "m.jsonl").write_text('{"file_name": "a.jpg", "text": "t"}\n')
    TAMPERED[what](root)
    before = tree(tmp_path)

    def attempt(run: Callable[[], object]) -> None:
        with contextlib.suppress(PrepError):
            run()

    attempt(lambda: energon_prep.verify(root, deep=True))
    attempt(lambda: energon_prep.index(root, workers=1))
    attempt(lambda: read_ledger(root))
    attempt(lambda: energon_prep.encode(source / "m.jsonl", root, weights="tiny", torch_threads=1))
    after = tree(tmp_path)
    outside = {name: content for name, content in after.items() if not name.startswith("set")}
    assert outside == {
        name: content for name, content in before.items() if not name.startswith("set")
    }


def test_the_command_fixes_and_indexes(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    with tarfile.open(source / "a.tar", "w") as tar:
        for name in ("v1.5_a.json", "v1.5_b.json", "v1.5_a.pth"):
            member = tarfile.TarInfo(name)
            member.size = 2
            tar.addfile(member, io.BytesIO(b"{}"))
    with (source / "a.tar").open("r+b") as file:
        file.truncate(3 * 1024)
    told = prep("index", source, code=1).stderr
    assert "it has no end-of-archive mark" in told
    done = prep("index", source, "--fix", tmp_path / "new")
    assert "indexed: 2 samples in 1 shard" in done.stdout
    assert "2 renamed, 1 regrouped" in done.stderr
    assert "lost: a.tar: byte 3072" in done.stderr
    assert not (source / "a.tar.idx").exists()
