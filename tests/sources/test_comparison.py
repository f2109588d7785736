"""What was listed is compared with what is opened."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from energon_prep.errors import PrepError
from energon_prep.plan.order import Listed
from energon_prep.plan.shards import join_entries
from energon_prep.samples import PendingSample
from energon_prep.sources.base import Source
from energon_prep.sources.folders.folder import FolderSource
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.tables.manifest import ManifestSource
from energon_prep.sources.tars.webdataset import WebDatasetSource
from tests.sources.reading import listed, only_pending, write, write_tar

VIDEO = b"\0\0\0\x08free"


def pending(source: Source) -> Iterator[PendingSample]:
    """As they are read, of what is listed now."""
    pieces = list(join_entries([Listed(*item) for item in enumerate(listed(source))]))
    return (sample for piece in pieces for sample in source.read(piece))


@pytest.mark.parametrize("name", ["1.jpg", "1.mp4", "1.txt", "1.json", "1.mask.png"])
@pytest.mark.parametrize("change", ["grows", "is emptied", "goes"])
def test_a_file_of_another_size_stops_the_run(tmp_path: Path, name: str, change: str) -> None:
    write(tmp_path / ("1.mp4" if name == "1.mp4" else "1.jpg"), VIDEO)
    for each, text in (("1.txt", "cat"), ("1.json", "{}"), ("1.mask.png", "mask")):
        write(tmp_path / each, text)
    options = SourceOptions(carry_parts=("mask.png",), caption_text="fallback")
    sample = only_pending(FolderSource(root=tmp_path, options=options))
    assert not sample.load().is_touched
    if change == "goes":
        (tmp_path / name).unlink()
        told = rf"{name}.*(No such file|is gone).*no fault of the sample"
    else:
        before = (tmp_path / name).read_bytes()
        now = before + b" " if change == "grows" else b""
        write(tmp_path / name, now)
        told = rf"{name} has changed .* had {len(before)} bytes, and has {len(now)}\..*--update"
    with pytest.raises(PrepError, match=told):
        sample.load()


@pytest.mark.parametrize("name", ["in/1.jpg", "texts/1.txt"])
@pytest.mark.parametrize("texts", ["../texts", "{}/texts"])
@pytest.mark.parametrize("root", ["in", "{}/in"])
def test_another_time_alone_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, texts: str, root: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "in" / "1.jpg")
    write(tmp_path / "texts" / "1.txt", "cat")
    options = SourceOptions(captions_dir=texts.format(tmp_path))
    sample = only_pending(FolderSource(root=Path(root.format(tmp_path)), options=options))
    os.utime(tmp_path / name, ns=(1, 1))
    assert sample.load().is_touched


def test_what_could_not_be_looked_at_is_not_compared(tmp_path: Path) -> None:
    write(tmp_path / "1.jpg")
    (tmp_path / "1.txt").symlink_to("nowhere")
    options = SourceOptions(caption_text="fallback")
    sample = only_pending(FolderSource(root=tmp_path, options=options))
    assert sample.load().caption == "fallback"
    write(tmp_path / "nowhere", "cat")
    assert sample.load().caption == "cat"


def grow(file: Path) -> None:
    file.write_bytes(file.read_bytes() + bytes(512))


def touch(file: Path) -> None:
    os.utime(file, ns=(1, 1))


@pytest.mark.parametrize(
    ("change", "told"), [(grow, r"had \d+ bytes"), (touch, "was written again")]
)
def test_a_tar_that_is_written_again_stops_the_run(
    tmp_path: Path, change: Callable[[Path], None], told: str
) -> None:
    parts = (("mp4", VIDEO), ("txt", b"cat"))
    tar = write_tar(tmp_path / "a.tar", [(f"{n}.{part}", x) for n in range(2) for part, x in parts])
    samples = pending(WebDatasetSource(root=tar))
    first = next(samples)
    media = first.load().media
    again = pending(WebDatasetSource(root=tar))
    change(tar)
    for read in (first.load, media.open, lambda: list(again)):
        with pytest.raises(PrepError, match=rf"a\.tar .*{told}.*is finished is kept"):
            read()


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet"])
@pytest.mark.parametrize("in_folder", [True, False])
def test_a_table_that_is_written_again_stops_the_run(
    tmp_path: Path, suffix: str, in_folder: bool
) -> None:
    write(tmp_path / "1.jpg")
    table = tmp_path / f"metadata.{suffix}"
    rows = [{"file_name": "1.jpg", "caption": f"cat {n}"} for n in range(5)]
    if suffix == "jsonl":
        write(table, "".join(json.dumps(row) + "\n" for row in rows))
    elif suffix == "json":
        write(table, json.dumps(rows))
    elif suffix == "csv":
        write(table, "file_name,caption\n" + "".join(f"1.jpg,cat {n}\n" for n in range(5)))
    else:
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.Table.from_pylist(rows), table)
    source: Source = ManifestSource(root=table)
    if in_folder and suffix != "json":
        source = FolderSource(root=tmp_path)
    began, later = pending(source), pending(source)
    next(began)
    touch(table)  # as one of the same size in its place
    for samples in (began, later):
        with pytest.raises(PrepError, match=r"metadata\.\w+ was written again since"):
            list(samples)
