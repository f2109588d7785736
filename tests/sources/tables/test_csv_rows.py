from __future__ import annotations

from pathlib import Path

import pytest

from energon_prep.errors import SampleError
from energon_prep.sources.tables.csv_rows import Csv, Tsv
from tests.sources.reading import write


def captions(table: Csv | Tsv) -> list[str | None]:
    """The caption of every row, each read from its own place; None for a row with a fault."""
    found = [row for start in table.starts() for _, row in table.rows(start, 1)]
    in_one_go = [row for _, row in table.rows(next(table.starts()), 1000)]
    assert [isinstance(row, SampleError) or row for row in found] == [
        isinstance(row, SampleError) or row for row in in_one_go
    ]
    return [None if isinstance(row, SampleError) else row["caption"] for row in found]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ["a.jpg,zero", 'b.jpg,"open', "c.jpg,two", 'd.jpg,four "five" x'],
            ["zero", None, "two", 'four "five" x'],
        ),
        (['a.jpg,"open', "b.jpg,one", "c.jpg,two"], [None, "one", "two"]),
        (
            ['a.jpg,"open', "b.jpg,one", 'c.jpg,"open too', "d.jpg,three"],
            [None, "one", None, "three"],
        ),
        (
            ['a.jpg,"open', "b.jpg,one", 'c.jpg,"well, quoted"', "d.jpg,three"],
            [None, "one", "well, quoted", "three"],
        ),
        (['a.jpg,"open', 'b.jpg,""', 'c.jpg,"""quoted"" word"'], [None, "", '"quoted" word']),
        (['a.jpg,"text" behind', "b.jpg,one"], [None, "one"]),
        (['a.jpg,"open', 'b.jpg,5",10', "c.jpg,two"], [None, None, "two"]),
        (["a.jpg,one, two", "b.jpg", "", "   ", "c.jpg,three"], [None, None, "three"]),
        (
            ['a.jpg,"two', "", 'lines, with ""quotes"""', "b.jpg,one"],
            ['two\n\nlines, with "quotes"', "one"],
        ),
    ],
)
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_a_quote_costs_its_own_line_and_no_other(
    tmp_path: Path, lines: list[str], expected: list[str | None], line_break: str
) -> None:
    table = Csv(path=write(tmp_path / "m.csv", line_break.join(["file,caption", *lines])))
    found = captions(table)
    assert [caption and caption.replace("\r\n", "\n") for caption in found] == expected


def test_the_line_of_a_reject_is_shown(tmp_path: Path) -> None:
    table = Csv(path=write(tmp_path / "m.csv", 'file,caption\nbroken_0815.jpg,"open\n'))
    ((_, row),) = table.rows(next(table.starts()), 1)
    assert isinstance(row, SampleError) and row.reason == "broken CSV row"
    assert "broken_0815.jpg" in row.detail and "double those within" in row.detail


def test_a_place_behind_a_line_too_long_to_be_a_row_is_that_of_the_next(tmp_path: Path) -> None:
    text = "file,caption\na.jpg," + "x" * (2**24 + 10) + "\nb.jpg,two\n"
    assert captions(Csv(path=write(tmp_path / "m.csv", text))) == [None, "two"]


def test_in_tab_separated_values_a_line_is_a_row_and_quotes_are_text(tmp_path: Path) -> None:
    lines = [
        'a.jpg\t"open',
        'b.jpg\tfour "five" x',
        "",
        "c.jpg\tone, two\r",
        "d.jpg",
        'e.jpg\t"whole"',
        "f.jpg\ta\tb",
    ]
    table = Tsv(path=write(tmp_path / "m.tsv", "\n".join(["file\tcaption\r", *lines])))
    assert captions(table) == ['"open', 'four "five" x', "one, two", None, '"whole"', None]


@pytest.mark.parametrize(("kind", "delimiter"), [(Csv, ","), (Tsv, "\t")])
def test_tables_in_another_encoding(
    tmp_path: Path, kind: type[Csv] | type[Tsv], delimiter: str
) -> None:
    text = (
        delimiter.join(["file", "caption"]) + "\n" + delimiter.join(["a.jpg", "caf\u00e9 \u20ac"])
    )
    path = write(tmp_path / "m.csv", text.encode("cp1252"))
    assert captions(kind(path=path, encoding="cp1252")) == ["caf\u00e9 \u20ac"]
    assert captions(kind(path=path)) == [None]
