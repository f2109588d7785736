"""The tables of docs/performance.md, from what `make bench` wrote: `python -m benchmarks.tables
bench.json`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


def main() -> None:
    report = json.loads(Path(sys.argv[1]).read_text())
    print(report["machine"])
    for name, table in TABLES.items():
        rows = [row for row in report["rows"] if row["table"] == name]
        if rows:
            print(f"\n{name}\n")
            print("\n".join(table(rows)))


def ways(rows: Rows) -> Iterator[str]:
    yield from markdown_table(
        ["case", "way", "samples/s", "slowest to fastest", "peak MiB"],
        [_rate_cells(row) for row in rows],
    )
    rate = {(row["case"], row["way"]): row["rate"] for row in rows}
    sequential = 0.0
    ratios = []
    for case in dict.fromkeys(row["case"] for row in rows):
        # measured once for cases of one script
        sequential = rate.get((case, "sequential"), sequential)
        encode = rate[case, "encode"]
        ratios.append([case, f"{encode / sequential:.1f}", f"{encode / rate[case, 'ceiling']:.2f}"])
    yield ""
    yield from markdown_table(["encode", "times `sequential`", "of `ceiling`"], ratios)


def stations(rows: Rows) -> Iterator[str]:
    names = list(dict.fromkeys(row["way"] for row in rows))
    rate = {(row["case"], row["way"]): row["rate"] for row in rows}
    cases = dict.fromkeys(row["case"] for row in rows)
    cells = [[case, *(_number(rate[case, name]) for name in names)] for case in cases]
    yield from markdown_table(["samples/s", *names], cells)


def growth(rows: Rows) -> Iterator[str]:
    cells = [[row["case"], *_rate_cells(row)[2:]] for row in rows]
    yield from markdown_table(["encode of", "samples/s", "slowest to fastest", "peak MiB"], cells)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Line by line, as the rows come."""
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cells)} |"


TABLES = {"ways": ways, "stations": stations, "growth": growth}


def _rate_cells(row: dict[str, Any]) -> list[str]:
    spread = f"{_number(row['rates'][0])} to {_number(row['rates'][-1])}"
    return [
        row["case"],
        row["way"],
        _number(row["rate"]),
        spread,
        str(row["answers"][-1]["peak_mib"]),
    ]


def _number(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}" if rate >= 10 else f"{rate:.2f}"


if __name__ == "__main__":
    main()
