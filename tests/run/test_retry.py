"""Samples that could not be read are tried again, and nothing else is."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from energon_prep import encode, index, verify
from energon_prep.errors import PrepError
from energon_prep.run.report import EncodeReport
from energon_prep.shards.head import note_files
from energon_prep.storage import LocalStorage
from tests.runs import tar_digests
from tests.sources.reading import write

RUN = ".energon-prep/run.json"


def run(source: Path, dest: Path, **options: Any) -> EncodeReport:
    options |= {"resolution": 32, "samples_per_shard": 2, "set": {"text.max_tokens": 8}}
    return encode(source, dest, weights="tiny", device="cpu", torch_threads=1, **options)


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (32, 32), shade).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Six rows, of which the media of the fourth are missing."""
    for number in (0, 1, 2, 4, 5):
        write(tmp_path / "in" / "media" / f"{number}.png", png(number))
    rows = [{"file": f"media/{n}.png", "caption": f"cat {n}"} for n in range(6)]
    return write(tmp_path / "in" / "m.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def test_the_shards_of_unread_samples_alone_are_made_again(table: Path, tmp_path: Path) -> None:
    dest, missing = tmp_path / "out", table.parent / "media" / "3.png"
    assert run(table, dest).rejects == {"read: cannot be read: No such file or directory": 1}
    before = tar_digests(dest)
    write(missing, png(3))
    assert run(table, dest).num_rejected == 1 and tar_digests(dest) == before
    report = run(table, dest, retry_rejects=True)
    assert (report.num_written, report.rejects, report.num_resumed) == (6, {}, 4)
    assert list((dest / ".energon-prep" / "rejects").iterdir()) == []
    after = tar_digests(dest)
    assert [name for name in before if after[name] != before[name]] == ["shard_000001.tar"]
    run(table, tmp_path / "clean")
    assert after == tar_digests(tmp_path / "clean")
    assert run(table, dest, retry_rejects=True).num_resumed == 6  # none is left
    index(dest, split="1,0,0")
    assert verify(dest).problems == ()


def test_a_source_that_is_away_costs_nothing_that_is_there(table: Path, tmp_path: Path) -> None:
    dest, media = tmp_path / "out", table.parent / "media"
    options = {"media_root": str(table.parent)}
    run(table, dest, **options)
    before = tar_digests(dest)
    media.rename(tmp_path / "away")
    with pytest.raises(
        PrepError, match=r"2 shards of 4 samples changed.*0\.png: read: cannot be read"
    ):
        run(table, dest, retry_rejects=True, **options)
    assert tar_digests(dest) == before
    (tmp_path / "away").rename(media)
    assert run(table, dest, **options).num_resumed == 6


def test_a_retry_that_was_killed_before_its_totals_is_counted_by_the_next_run(
    table: Path, tmp_path: Path
) -> None:
    dest = tmp_path / "out"
    run(table, dest)
    stale = (dest / RUN).read_bytes()
    write(table.parent / "media" / "3.png", png(3))
    run(table, dest, retry_rejects=True)
    (dest / RUN).write_bytes(stale)
    note_files(LocalStorage(dest), [RUN], again=True)
    run(table, dest)
    totals = json.loads((dest / RUN).read_bytes())["totals"]
    assert (totals["num_written"], totals["rejects"]) == (6, {})
