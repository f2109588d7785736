"""Whole runs over tars: what is carried, and what a damaged tar does to the exit code."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from energon_prep import encode
from energon_prep.errors import PrepError
from energon_prep.run.report import EncodeReport
from tests.sources.reading import write, write_tar


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, "PNG")
    return buffer.getvalue()


def run(source: Path, dest: Path, *, carry: tuple[str, ...] = (), **options: Any) -> EncodeReport:
    options |= {"carry": carry, "resolution": 32, "set": {"text.max_tokens": 8}}
    return encode(source, dest, weights="tiny", device="cpu", **options)


@pytest.mark.parametrize("kind", ["tar", "folder"])
def test_masks_are_carried_by_name(tmp_path: Path, kind: str) -> None:
    members = {
        "s0.jpg": png(),
        "s0.mask.png": b"mask 0",
        "s0.txt": b"cat",
        "s1.jpg": png(),
        "s1.txt": b"dog",
    }
    if kind == "tar":
        source = write_tar(tmp_path / "a.tar", members.items())
    else:
        source = tmp_path / "in"
        for name, content in members.items():
            write(source / name, content)
    report = run(source, tmp_path / "out", carry=("media", "mask.png"))
    with tarfile.open(tmp_path / "out" / "shard_000000.tar") as tar:
        mask = tar.extractfile("samples/sample_000000000.mask.png")
        assert mask is not None and mask.read() == b"mask 0"
        names = set(tar.getnames())
    assert (
        "samples/sample_000000001.png" in names and "samples/sample_000000001.mask.png" not in names
    )
    assert (report.num_samples, report.notes) == (2, {"without the part mask.png (--carry)": 1})


def test_a_part_that_no_sample_has_stops_the_run(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [("0.png", png()), ("0.txt", b"cat")])
    write(tmp_path / "in" / "0.png", png())
    for source in (tar, tmp_path / "in"):
        with pytest.raises(
            PrepError, match=r"--carry depth\.png: no (sample|media) ha(s|ve) a part of that name"
        ):
            run(source, tmp_path / "out", carry=("depth.png",), caption="c")


def test_a_damaged_tar_is_an_error_that_can_be_allowed_afterwards(tmp_path: Path) -> None:
    tar = write_tar(
        tmp_path / "a.tar",
        [("0.png", png()), ("0.txt", b"cat"), ("1.png", png()), ("1.txt", b"dog")],
    )
    tar.write_bytes(tar.read_bytes()[: 7 * 512])
    with pytest.raises(
        PrepError, match=r"1 tar ends early or damaged, first a\.tar: byte .*--allow-damaged"
    ):
        run(tar, tmp_path / "out")
    totals = json.loads((tmp_path / "out" / ".energon-prep" / "run.json").read_text())["totals"]
    assert totals["num_written"] == 1 and list(totals["found"]["damaged"]) == ["a.tar"]
    report = run(tar, tmp_path / "out", allow_damaged=True)
    assert (report.num_resumed, report.num_written, list(report.found["damaged"])) == (
        1,
        1,
        ["a.tar"],
    )
