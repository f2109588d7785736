from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from energon_prep.errors import PrepError, SampleError
from energon_prep.samples import RawSample
from energon_prep.sources.tables.arrow import Arrow
from energon_prep.sources.tables.manifest import ManifestSource
from tests.sources.reading import load_all, write

pa = pytest.importorskip("pyarrow")


def write_arrow(path: Path, columns: dict[str, Any], *, stream: bool, batch: int = 3) -> Path:
    table = pa.table(columns)
    writer = pa.ipc.new_stream if stream else pa.ipc.new_file
    with pa.OSFile(str(path), "wb") as file, writer(file, table.schema) as opened:
        opened.write_table(table, max_chunksize=batch)
    return path


@pytest.mark.parametrize("stream", [True, False])
def test_rows_of_save_to_disk(tmp_path: Path, stream: bool) -> None:
    images = [{"bytes": b"media %d" % n, "path": f"{n}.jpg" if n else None} for n in range(7)]
    path = write_arrow(
        tmp_path / "a.arrow", {"image": images, "text": [f"c{n}" for n in range(7)]}, stream=stream
    )
    assert Arrow(path=path).columns() == ["image", "text"]
    for start, count in ((0, 7), (2, 3), (6, 9)):
        found = list(Arrow(path=path).rows(start, count))
        assert [place for place, _ in found] == list(range(7))[start : start + count]
    outcomes = load_all(ManifestSource(root=path), cut=2)
    assert [
        isinstance(raw, RawSample) and (raw.key, raw.source, raw.caption) for raw in outcomes
    ] == [("a.arrow:0" if n == 0 else f"{n}.jpg", "a.arrow", f"c{n}") for n in range(7)]


@pytest.mark.parametrize("stream", [True, False])
def test_what_is_cut_or_no_arrow_stops_the_run(tmp_path: Path, stream: bool) -> None:
    data = write_arrow(
        tmp_path / "a.arrow", {"image": [b"x" * 500] * 9, "text": ["c"] * 9}, stream=stream
    ).read_bytes()
    for broken in (b"", b"no arrow", data[: len(data) // 2]):
        with pytest.raises(PrepError, match=r"cannot read the Arrow file .*b\.arrow"):
            list(Arrow(path=write(tmp_path / "b.arrow", broken)).starts())


def test_a_batch_with_offsets_that_lead_out_of_it_spares_the_others(tmp_path: Path) -> None:
    columns = {"image": [b"x", b"y"], "text": ["a" * 0x1234, "b"]}
    path = write_arrow(tmp_path / "a.arrow", columns, stream=True, batch=1)
    offsets = b"\0\0\0\0\x34\x12\0\0"
    assert path.read_bytes().count(offsets) == 1
    path.write_bytes(path.read_bytes().replace(offsets, b"\0\0\0\0\0\0\0\x40"))
    first, second = load_all(ManifestSource(root=path))
    assert isinstance(first, SampleError) and first.reason == "the Arrow batch cannot be read"
    assert isinstance(second, RawSample) and second.caption == "b"
