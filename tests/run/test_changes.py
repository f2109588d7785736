"""A changed source is told, and nothing of two states is mixed."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from energon_prep import encode, index, verify
from energon_prep.errors import PrepError
from energon_prep.pipeline.tally import Tally
from energon_prep.run.report import EncodeReport
from energon_prep.samples import TOUCHED
from tests.runs import tar_digests
from tests.sources.reading import write


def run(source: Path, dest: Path, **options: Any) -> EncodeReport:
    options |= {"resolution": 32, "samples_per_shard": 2, "set": {"text.max_tokens": 8}}
    return encode(source, dest, weights="tiny", device="cpu", torch_threads=1, **options)


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (32, 32), shade).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(6):
        write(tmp_path / "in" / f"{number}.png", png(number))
        write(tmp_path / "in" / f"{number}.txt", f"cat {number}")
    return tmp_path / "in"


@pytest.fixture
def dest(folder: Path, tmp_path: Path) -> Path:
    """The whole dataset."""
    run(folder, tmp_path / "out")
    return tmp_path / "out"


def stop_after(dest: Path, shards: int) -> None:
    """As if the run had been stopped then."""
    for path in sorted(dest.rglob("shard_*")):
        if int(path.name[6:12]) >= shards:
            path.unlink()


@pytest.mark.parametrize("left", [1, 3])
@pytest.mark.parametrize("name", ["3.txt", "3.png"])
def test_a_file_of_another_size_is_refused_and_update_makes_its_shard_again(
    folder: Path, dest: Path, tmp_path: Path, name: str, left: int
) -> None:
    before = tar_digests(dest)
    stop_after(dest, left)
    kept = tar_digests(dest)
    write(folder / name, "a dog!" if name == "3.txt" else Path(folder / name).read_bytes() + b"!")
    for _ in range(2):
        told = rf"1 shard of 2 samples changed; the first: {name} has \d+ bytes.*shard 1.*--update"
        with pytest.raises(PrepError, match=told):
            run(folder, dest)
    assert tar_digests(dest) == kept
    run(folder, dest, update=True)
    run(folder, tmp_path / "clean")
    assert tar_digests(dest) == tar_digests(tmp_path / "clean")
    assert (before == tar_digests(dest)) is (name == "3.png")
    assert run(folder, dest).num_resumed == 6
    index(dest, split="1,0,0")
    assert verify(dest).problems == ()


def test_same_size_and_another_time_is_decided_by_contents(folder: Path, dest: Path) -> None:
    before = tar_digests(dest)
    os.utime(folder / "2.txt", ns=(1, 1))
    assert run(folder, dest).num_resumed == 6
    write(folder / "2.txt", "dog 2")
    with pytest.raises(PrepError, match=r"shard 1 \(samples 2 to 3, .*has other contents"):
        run(folder, dest)
    assert tar_digests(dest) == before
    report = run(folder, dest, update=True)
    after = tar_digests(dest)
    assert [name for name in before if after[name] != before[name]] == ["shard_000001.tar"]
    assert (report.num_written, report.num_resumed) == (6, 4)


def test_a_moved_source_goes_on_and_one_of_other_contents_does_not(
    folder: Path, dest: Path, tmp_path: Path
) -> None:
    moved, run_json = tmp_path / "moved", dest / ".energon-prep" / "run.json"
    before = tar_digests(dest)
    stop_after(dest, 2)
    folder.rename(moved)
    assert run(moved, dest).num_resumed == 4
    assert json.loads(run_json.read_bytes())["source"]["root"] == str(moved)
    shutil.copytree(moved, folder)
    assert run(folder, dest).num_resumed == 6
    assert json.loads(run_json.read_bytes())["source"]["root"] == str(folder)
    assert tar_digests(dest) == before and verify(dest, deep=True).problems == ()
    state = (moved / "0.png").stat()
    write(moved / "0.png", png(77))  # the time too is that of the other
    os.utime(moved / "0.png", ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(PrepError, match=r"shard 0 .*has other contents"):
        run(moved, dest)


def test_other_samples_cannot_be_an_update(folder: Path, dest: Path) -> None:
    before = tar_digests(dest)
    (folder / "0.png").unlink()
    with pytest.raises(PrepError, match=r"1 sample .* 0\.png.*--update and --extend cannot be"):
        run(folder, dest, update=True)
    assert tar_digests(dest) == before


def test_of_a_table_only_the_shards_of_changed_rows_are_made_again(
    folder: Path, tmp_path: Path
) -> None:
    def table(changed: int | None = None) -> Path:
        rows = [
            {"file": f"{n}.png", "caption": "another one" if n == changed else f"cat {n}"}
            for n in range(6)
        ]
        return write(folder / "m.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    dest = tmp_path / "out"
    run(table(), dest)
    before = tar_digests(dest)
    with pytest.raises(PrepError, match=r"3 shards of 6 samples changed; the first: m\.jsonl"):
        run(table(1), dest)
    assert run(table(1), dest, update=True).num_resumed == 4
    after = tar_digests(dest)
    assert [name for name in before if after[name] != before[name]] == ["shard_000000.tar"]
    run(folder / "m.jsonl", tmp_path / "clean")
    assert after == tar_digests(tmp_path / "clean")


@pytest.mark.parametrize("left", [1, 3])
@pytest.mark.parametrize("in_folder", [True, False])
def test_media_that_only_a_table_names_are_compared(
    folder: Path, tmp_path: Path, left: int, in_folder: bool
) -> None:
    rows = [{"file_name": f"{n}.png", "caption": f"cat {n}"} for n in range(6)]
    table = write(folder / "metadata.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    source, dest = folder if in_folder else table, tmp_path / "out"
    run(source, dest)
    entry = dest / ".energon-prep/ledger/shard_000000.json"
    before, known = tar_digests(dest), entry.read_bytes()
    os.utime(folder / "1.png", ns=(1, 1))
    assert run(source, dest).num_resumed == 6
    assert entry.read_bytes() != known  # so that it is not read again the next time
    assert verify(dest).problems == () and tar_digests(dest) == before
    stop_after(dest, left)
    write(folder / "1.png", png(99))
    with pytest.raises(PrepError, match=r"1 shard of 2 samples changed.*shard 0 .*other contents"):
        run(source, dest)
    assert run(source, dest, update=True).num_resumed == 2 * left - 2
    after = tar_digests(dest)
    assert [name for name in before if after[name] != before[name]] == ["shard_000000.tar"]
    assert run(source, dest).num_resumed == 6 and verify(dest).problems == ()


@pytest.mark.parametrize("name", ["5.txt", "5.png"])
def test_what_changes_under_a_run_stops_it(folder: Path, tmp_path: Path, name: str) -> None:
    dest = tmp_path / "out"

    def edit(tally: Tally) -> None:
        if tally.num_planned == 6 and not tally.num_done:
            write(folder / name, b"a dog" + bytes(tally.num_planned))

    with pytest.raises(PrepError, match=rf"{name} has changed since the source was listed"):
        run(folder, dest, progress=edit)
    assert not (dest / ".energon-prep/ledger/shard_000002.json").exists()
    with pytest.raises(PrepError, match=rf"1 shard of 2 samples changed; the first: {name} has"):
        run(folder, dest)
    write(folder / "5.txt", "a dog")
    write(folder / "5.png", png(9))
    run(folder, dest, update=True)
    run(folder, tmp_path / "clean")
    assert tar_digests(dest) == tar_digests(tmp_path / "clean")


def test_what_is_touched_under_a_run_goes_on_and_is_noted(folder: Path, tmp_path: Path) -> None:
    def touch(tally: Tally) -> None:
        if tally.num_planned == 6 and not tally.num_done:
            os.utime(folder / "5.txt", ns=(1, 1))

    report = run(folder, tmp_path / "out", progress=touch)
    assert report.notes == {TOUCHED: 1} and report.num_written == 6
    assert run(folder, tmp_path / "out").num_resumed == 6


def test_without_its_plan_contents_decide(folder: Path, dest: Path) -> None:
    plan = dest / ".energon-prep" / "plan.jsonl"
    stored = plan.read_bytes()
    plan.unlink()
    assert run(folder, dest).num_resumed == 6 and plan.read_bytes() == stored
    plan.unlink()
    write(folder / "5.txt", "dog 5")
    for _ in range(2):
        with pytest.raises(PrepError, match=r"shard 2 .*has other contents"):
            run(folder, dest)


def test_an_entry_that_is_altered_before_the_run_ends_is_told(folder: Path, tmp_path: Path) -> None:
    entry = tmp_path / "out/.energon-prep/ledger/shard_000000.json"

    def alter(tally: Tally) -> None:
        if tally.num_written == 6:
            fields = json.loads(entry.read_text())
            entry.write_text(json.dumps({**fields, "notes": {"captions cut": 1}}))

    run(folder, tmp_path / "out", progress=alter)
    told = verify(tmp_path / "out").problems
    assert [problem for problem in told if "it is not the entry that was written" in problem]
