"""A dataset against what it was made of."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from energon_prep import encode, verify
from energon_prep.cli import main
from energon_prep.errors import PrepError
from energon_prep.verifying import VerifyReport
from tests.sources.reading import write, write_tar

NUM = 7


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (32, 32), shade).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def made(source: Path, dest: Path, **options: Any) -> Path:
    encode(
        source,
        dest,
        vae="tests.fakes:MeanVisual",
        model="tests.fakes:HashText",
        resolution=32,
        samples_per_shard=2,
        device="cpu",
        torch_threads=1,
        **options,
    )
    return dest


def against(dest: Path, source: Path) -> VerifyReport:
    return verify(dest, deep=False, source=source)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(NUM):
        write(tmp_path / f"in/{number}.png", picture(number))
        write(tmp_path / f"in/{number}.txt", f"cat {number}")
    write(tmp_path / "in/broken.png", b"no picture")
    write(tmp_path / "in/broken.txt", "a dog")
    return tmp_path / "in"


def test_a_source_that_is_the_same_wherever_it_lies(folder: Path, tmp_path: Path) -> None:
    dest = made(folder, tmp_path / "out")
    moved = folder.rename(tmp_path / "moved")
    os.utime(moved / "0.txt", ns=(1, 1))
    report = against(dest, moved)
    assert report.ok and not report.problems
    assert report.source == {"same": NUM + 1, "changed": 0, "missing": 0, "extra": 0}
    assert verify(dest).source == {}
    with pytest.raises(PrepError, match=r"the source .*in does not exist"):
        against(dest, folder)


def test_how_far_it_is_with_the_source_is_told_apart_from_the_tars(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dest = made(folder, tmp_path / "out")
    monkeypatch.setattr("energon_prep.progress._LONG", -1.0)  # a line at each tenth, at once
    verify(dest, source=folder, progress=True)
    lines = capsys.readouterr().err.splitlines()
    tars = [f"verify: {n} of 4 shards" for n in (1, 2, 3, 4)]
    source = [f"verify --source: {n} of 4 shards" for n in (1, 2, 3, 4)]
    assert [line.partition(",")[0] for line in lines] == tars + source
    assert not [line for line in lines if " -" in line.replace(" --source", "")]


def test_what_differs_is_counted_and_the_first_is_named(folder: Path, tmp_path: Path) -> None:
    dest = made(folder, tmp_path / "out")
    write(folder / "1.txt", "dog 1")  # in shard 0, of the same size
    (folder / "4.png").unlink()  # in shard 2
    write(folder / "new.png", picture(50))
    result = CliRunner().invoke(main, ["verify", str(dest), "--source", str(folder), "--json"])
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["source"] == {"same": NUM - 3, "changed": 2, "missing": 1, "extra": 1}
    assert report["problems"] == [
        "the source: samples missing from it: 1, the first: 4.png",
        "the source: samples in shards that differ from it: 2, the first: shard 0 "
        "(samples 0 to 1, 0.png to 1.png)",
        "the source: samples that the dataset has not: 1, the first: new.png",
    ]
    assert "not compared: 1 shards of which samples are missing" in report["notes"]


def test_a_source_that_was_emptied(folder: Path, tmp_path: Path) -> None:
    dest = made(folder, tmp_path / "out")
    shutil.rmtree(folder)
    folder.mkdir()
    report = against(dest, folder)
    assert report.source == {"same": 0, "changed": 0, "missing": NUM + 1, "extra": 0}
    assert not report.ok and any("could not be listed to its end" in note for note in report.notes)


def test_what_a_limit_left_out_is_not_extra(folder: Path, tmp_path: Path) -> None:
    report = against(made(folder, tmp_path / "out", limit=3, shuffle=1), folder)
    assert report.ok and report.source["same"] == 3
    assert any(note.startswith("with --limit") for note in report.notes)


def as_table(folder: Path) -> tuple[Path, Callable[[], object]]:
    rows = [{"file": f"{n}.png", "caption": f"cat {n}"} for n in range(NUM)]
    table = write(folder / "m.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return table, lambda: write(folder / "3.png", picture(99))


def as_tar(folder: Path) -> tuple[Path, Callable[[], object]]:
    def pack(changed: int | None = None) -> Path:
        members = []
        for n in range(NUM):
            members.append((f"{n}.png", picture(n)))
            members.append((f"{n}.txt", b"a dog" if n == changed else b"a cat"))
        return write_tar(folder / "a.tar", members)

    return pack(), lambda: pack(3)


@pytest.mark.parametrize("kind", [as_table, as_tar])
def test_tables_and_tars(
    folder: Path, tmp_path: Path, kind: Callable[[Path], tuple[Path, Callable[[], object]]]
) -> None:
    source, change = kind(folder)
    dest = made(source, tmp_path / "out")
    assert against(dest, source).source == {"same": NUM, "changed": 0, "missing": 0, "extra": 0}
    change()
    report = against(dest, source)
    assert report.source == {"same": NUM - 2, "changed": 2, "missing": 0, "extra": 0}
    assert "shard 1 (samples 2 to 3" in report.problems[0]


def test_rows_that_were_added_are_extra(folder: Path, tmp_path: Path) -> None:
    table, _ = as_table(folder)
    dest = made(table, tmp_path / "out")
    with table.open("a") as file:
        file.write('{"file": "0.png", "caption": "once more"}\n')
    report = against(dest, table)
    assert report.source == {"same": NUM, "changed": 0, "missing": 0, "extra": 1}
    assert report.problems == (
        "the source: samples that the dataset has not: 1, the first: m.jsonl",
    )


def test_a_strange_dataset_has_no_source(tmp_path: Path) -> None:
    write(tmp_path / "set/.energon-prep/ledger/x", "")
    with pytest.raises(PrepError, match=r"no run\.json that says how its source is read"):
        verify(tmp_path / "set", source=tmp_path)
