from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from energon_prep.errors import PrepError, SampleError
from energon_prep.samples import RawSample
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.tables.manifest import ManifestSource
from energon_prep.sources.tables.parquet import Parquet
from tests.sources.reading import listed, load_all, only, write

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def write_parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
    return path


@pytest.mark.parametrize("start", [0, 1, 9, 10, 11, 34, 99])
@pytest.mark.parametrize("count", [1, 9, 10, 25, 100])
def test_any_stretch_of_rows_across_row_groups(tmp_path: Path, start: int, count: int) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"n": list(range(100))}, row_group_size=10)
    table = Parquet(path=path)
    assert list(table.starts()) == list(range(100)) and table.columns() == ["n"]
    wanted = range(start, min(start + count, 100))
    assert list(table.rows(start, count)) == [(n, {"n": n}) for n in wanted]


def test_values_come_as_python_has_them(tmp_path: Path) -> None:
    columns = {
        "ns": pa.array([1_700_000_000_123_456_789], pa.timestamp("ns")),
        "price": [Decimal("1.50")],
        "tags": [["a", "b"]],
        "box": [{"x": 1, "raw": b"bytes"}],
        "nan": [float("nan")],
        "image": [b"image bytes"],
        "large": pa.array([b"large"], pa.large_binary()),
        "none": pa.array([None], pa.string()),
    }
    ((_, row),) = Parquet(path=write_parquet(tmp_path / "a.parquet", columns)).rows(0, 1)
    assert isinstance(row, dict)
    assert row["ns"] == datetime(2023, 11, 14, 22, 13, 20, 123456)
    assert (row["price"], row["tags"], row["none"]) == (Decimal("1.50"), ["a", "b"], None)
    assert (
        isinstance(row["image"], memoryview)
        and row["image"] == b"image bytes"
        and row["large"] == b"large"
    )
    assert row["box"] == {"x": 1, "raw": memoryview(b"bytes")}


def test_bytes_in_a_binary_column_and_in_a_hugging_face_image(tmp_path: Path) -> None:
    jpeg = b"\xff\xd8\xff\xe0jpeg"
    binary = write_parquet(
        tmp_path / "a.parquet", {"image": [jpeg], "text": ["a cat"], "width": [3]}
    )
    assert only(ManifestSource(root=binary)) == RawSample(
        key="a.parquet:0",
        source="a.parquet",
        media_name="a.parquet:0.jpg",
        media=jpeg,
        captions=("a cat",),
        metadata={"text": "a cat", "width": 3},
    )
    image = {"bytes": jpeg, "path": "cat.jpg"}
    columns = {
        "file_name": ["nowhere.jpg"],
        "image": [image],
        "mask": [image],
        "text": ["a cat"],
        "id": [7],
    }
    sample = only(ManifestSource(root=write_parquet(tmp_path / "b.parquet", columns)))
    assert (sample.key, sample.media_name, sample.media) == ("7", "cat.jpg", jpeg)
    assert sample.source == "b.parquet"
    assert sample.metadata == {
        "file_name": "nowhere.jpg",
        "mask": {"path": "cat.jpg"},
        "text": "a cat",
        "id": 7,
    }
    json.dumps(sample.metadata, allow_nan=False)


def test_faults_of_bytes_columns(tmp_path: Path) -> None:
    columns = {"image": [b"", b"x" * 11, None, b"x"], "text": ["a", "b", "c", "d"]}
    path = write_parquet(tmp_path / "a.parquet", columns)
    outcomes = load_all(ManifestSource(root=path, options=SourceOptions(max_bytes=10)), cut=3)
    reasons = [
        outcome.reason if isinstance(outcome, SampleError) else outcome.media
        for outcome in outcomes
    ]
    assert reasons == [
        "empty file",
        "larger than limits.max_bytes",
        "no media in the row (give --image-key)",
        b"x",
    ]


def test_paths_are_looked_up_from_each_files_own_folder(tmp_path: Path) -> None:
    for part in ("0", "1"):
        write(tmp_path / part / "img" / "1.jpg", f"media {part}")
        write_parquet(tmp_path / part / "part.parquet", {"path": ["img/1.jpg"], "caption": ["cat"]})
    outcomes = load_all(ManifestSource(root=tmp_path), cut=1)
    assert [
        isinstance(outcome, RawSample) and (outcome.source, outcome.media) for outcome in outcomes
    ] == [
        ("0/img/1.jpg", b"media 0"),
        ("1/img/1.jpg", b"media 1"),
    ]


def test_a_value_that_python_cannot_hold_is_one_fault(tmp_path: Path) -> None:
    broken = pa.StringArray.from_buffers(
        2, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"\xffb")
    )
    path = write_parquet(tmp_path / "a.parquet", {"image": [b"x", b"y"], "text": broken})
    first, second = load_all(ManifestSource(root=path))
    assert isinstance(first, SampleError) and first.reason == "a value of the row cannot be read"
    assert isinstance(second, RawSample) and second.caption == "b"


def test_a_damaged_row_group_spares_the_others(tmp_path: Path) -> None:
    columns = {"image": [b"%d" % n * 500 for n in range(30)], "text": [str(n) for n in range(30)]}
    path = write_parquet(
        tmp_path / "a.parquet",
        columns,
        row_group_size=10,
        compression="snappy",
        use_dictionary=False,
    )
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(data)
    for cut in (4, 30):
        outcomes = load_all(ManifestSource(root=path), cut=cut)
        reasons = [
            outcome.reason if isinstance(outcome, SampleError) else outcome.caption
            for outcome in outcomes
        ]
        lost = ["the Parquet row group cannot be read"] * 10
        assert reasons == [*map(str, range(10)), *lost, *map(str, range(20, 30))]


def test_what_is_no_parquet_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(PrepError, match=r"cannot read the Parquet file .*a\.parquet"):
        listed(ManifestSource(root=write(tmp_path / "a.parquet", b"no parquet")))


def test_without_pyarrow_the_remedy_is_named(tmp_path: Path) -> None:
    code = """
import sys; sys.modules["pyarrow"] = None
from pathlib import Path
from energon_prep.sources.account import Account
from energon_prep.sources.detect import open_source
list(open_source(sys.argv[1]).list(Account()))
"""
    path = write(tmp_path / "a.parquet", b"x")
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert "PrepError: " in done.stderr and "pip install 'energon-prep[parquet]'" in done.stderr


def test_a_column_name_that_is_not_utf8_is_an_error(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(
        pyarrow.table({"imagename": ["a"], "text": ["b"]}), tmp_path / "a.parquet"
    )
    data = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(data.replace(b"imagename", b"image\xa2ame"))
    with pytest.raises(PrepError, match="cannot read the"):
        Parquet(path=tmp_path / "a.parquet").columns()


def test_a_made_up_number_of_rows_is_an_error(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"image": ["a"] * 1000, "text": ["b"] * 1000}), path)
    data = path.read_bytes()
    size = int.from_bytes(data[-8:-4], "little")
    # 1000 as a varint
    footer = data[-8 - size : -8].replace(b"\xd0\x0f", b"\xfe\xff\xff\xff\xff\xff\xff\xff\x0f", 1)
    path.write_bytes(data[: -8 - size] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(PrepError, match="claims 576460752303423487 rows"):
        next(Parquet(path=path).starts())
