from __future__ import annotations

import csv
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from energon_prep.errors import PrepError, SampleError
from energon_prep.sources.media import MAX_TEXT_BYTES
from energon_prep.sources.tables.base import Table
from energon_prep.sources.tables.csv_rows import Csv, Tsv
from energon_prep.sources.tables.json_document import JsonDocument
from energon_prep.sources.tables.json_lines import JsonLines
from tests.sources.reading import write

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
ROWS = st.lists(
    st.fixed_dictionaries({"path": TEXT.map(lambda text: "p" + text), "caption": TEXT}), max_size=8
)


def as_json_lines(rows: list[dict[str, Any]], ascii_only: bool) -> bytes:
    # Blank lines between the rows, and no line break at the end: neither counts.
    return "\n \n".join(json.dumps(row, ensure_ascii=ascii_only) for row in rows).encode()


def as_json_list(rows: list[dict[str, Any]], ascii_only: bool) -> bytes:
    return json.dumps(rows, ensure_ascii=ascii_only, indent=1 if ascii_only else None).encode()


def as_csv(rows: list[dict[str, Any]], quote_all: bool) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(
        text, ["path", "caption"], quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def faults_in(table: Table) -> list[str]:
    """The reason of each row that has a fault, "" for one that has none."""
    first = next(table.starts())
    return [
        row.reason if isinstance(row, SampleError) else "" for _, row in table.rows(first, 1000)
    ]


@pytest.mark.parametrize(
    ("table", "write_rows"),
    [(JsonLines, as_json_lines), (JsonDocument, as_json_list), (Csv, as_csv)],
)
@settings(max_examples=60, deadline=None)
@example(rows=[{"path": "p", "caption": "\ufeff"}], flag=False, bom=False, count=1)
@given(rows=ROWS, flag=st.booleans(), bom=st.booleans(), count=st.integers(1, 9))
def test_every_row_is_found_again_from_where_it_starts(
    tmp_path_factory: pytest.TempPathFactory,
    table: Any,
    write_rows: Any,
    rows: list[dict[str, Any]],
    flag: bool,
    bom: bool,
    count: int,
) -> None:
    data = (b"\xef\xbb\xbf" if bom else b"") + write_rows(rows, flag)
    manifest = table(path=write(tmp_path_factory.mktemp("table") / "manifest", data))
    starts = list(manifest.starts())
    assert len(starts) == len(rows)
    for number, start in enumerate(starts):
        found = list(manifest.rows(start, count))
        assert found == list(zip(starts, rows, strict=True))[number : number + count]


def test_a_broken_json_line_is_one_fault(tmp_path: Path) -> None:
    lines = [b'{"a": 1}', b"{broken", b"[1]", b'{"a": "\xff"}', b"\x00", b'{"a": 2}\r']
    table = JsonLines(path=write(tmp_path / "a.jsonl", b"\n".join(lines)))
    assert faults_in(table) == [
        "",
        "broken JSON",
        "the JSON is not an object",
        "not UTF-8",
        "not UTF-8",
        "",
    ]


def test_a_line_without_end_is_one_fault_and_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.truncate(MAX_TEXT_BYTES * 8)
        file.seek(MAX_TEXT_BYTES * 8)
        file.write(b'\n{"a": 1}\n')
    tracemalloc.start()
    starts = list(JsonLines(path=path).starts())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert starts == [0, MAX_TEXT_BYTES * 8 + 1] and peak < MAX_TEXT_BYTES * 5
    assert faults_in(JsonLines(path=path)) == ["text file too large", ""]


def test_csv_as_spreadsheets_and_people_write_it(tmp_path: Path) -> None:
    text = 'path,caption\r\n"a ""b"".jpg","two\r\nlines, one value"\r\n\r\nplain.jpg,5" pipe\r\n'
    table = Csv(path=write(tmp_path / "a.csv", text))
    first, second = table.starts()
    assert list(table.rows(first, 2)) == [
        (first, {"path": 'a "b".jpg', "caption": "two\r\nlines, one value"}),
        (second, {"path": "plain.jpg", "caption": '5" pipe'}),
    ]
    assert text[second:].startswith("plain")


def test_broken_csv_rows_are_one_fault_each(tmp_path: Path) -> None:
    rows = ["a.jpg,cat", "b.jpg,a cat, a dog", "c.jpg", "d.jpg,one\rtwo", "e.jpg,dog"]
    table = Csv(path=write(tmp_path / "a.csv", "\n".join(["path,caption", *rows])))
    count = "a row with another number of values than there are columns"
    assert faults_in(table) == ["", count, count, "broken CSV row", ""]
    starts = list(table.starts())
    for number, start in enumerate(starts):
        assert [place for place, _ in table.rows(start, 9)] == starts[number:]


def test_a_csv_value_that_is_not_utf8_is_one_fault(tmp_path: Path) -> None:
    table = Tsv(
        path=write(tmp_path / "a.tsv", b"path\tcaption\na.jpg\tcaf\xe9\nb.jpg\tcaf\xc3\xa9\n")
    )
    assert faults_in(table) == ["not UTF-8", ""]


def test_an_open_quote_does_not_hold_the_whole_file_in_memory(tmp_path: Path) -> None:
    lines = ["path,caption", 'a.jpg,"open', *(f"{i}.jpg,{'caption ' * 8}" for i in range(50_000))]
    path = write(tmp_path / "a.csv", "\n".join(lines))
    tracemalloc.start()
    num_rows = sum(1 for _ in Csv(path=path).starts())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert num_rows == 50_001 and peak < 2 * 2**20 < path.stat().st_size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must name its columns: it is empty"),
        ("a,b,a\n", "two columns named 'a'"),
        (b"a,caf\xe9\n", "must name its columns: .*not UTF-8"),
    ],
)
def test_a_csv_header_that_is_none_stops_the_run(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(PrepError, match=message):
        Csv(path=write(tmp_path / "a.csv", text)).columns()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf16_is_refused_with_the_remedy(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path / "a.jsonl", '\ufeff{"a": 1}'.encode(encoding))
    with pytest.raises(PrepError, match=r"is UTF-16: convert it to UTF-8 \(iconv"):
        list(JsonLines(path=path).starts())


def test_a_missing_manifest_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(PrepError, match=r"cannot read the table .*gone\.jsonl: No such file"):
        list(JsonLines(path=tmp_path / "gone.jsonl").starts())


def test_a_csv_record_without_end_is_a_fault_and_not_all_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("energon_prep.sources.tables.csv_rows.MAX_TEXT_BYTES", 100)
    (tmp_path / "a.csv").write_bytes(b'a,b\n"' + b'\n","' * 100 + b"\nx,y\n1,2\n")
    table = Csv(path=tmp_path / "a.csv")
    rows = [row for start in table.starts() for _, row in table.rows(start, 1)]
    assert any(
        isinstance(row, SampleError) and "a record of more than 100 bytes" in row.detail
        for row in rows
    )
    assert [row for row in rows if isinstance(row, dict)][-1] == {"a": "1", "b": "2"}
