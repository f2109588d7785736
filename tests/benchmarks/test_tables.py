from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import tables
from benchmarks.throughput import table_row


def test_a_report_becomes_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def row(table: str, case: str, way: str, *seconds: float) -> dict[str, object]:
        return table_row(
            table, case, way, 100, [{"seconds": second, "peak_mib": 300} for second in seconds]
        )

    rows = [
        row("ways", "flux1", "sequential", 80, 100, 125),
        row("ways", "flux1", "ceiling", 8, 8, 8),
        row("ways", "flux1", "encode", 9, 10, 11),
        row("ways", "flux1-trimmed", "ceiling", 4, 4, 4),
        row("ways", "flux1-trimmed", "encode", 5, 5, 5),
        row("stations", "flux1", "read", 0.01),
        row("stations", "flux1", "write", 2),
        row("growth", "1,000 samples", "encode", 0.05),
    ]
    report = tmp_path / "bench.json"
    report.write_text(json.dumps({"machine": {"cpus": 2}, "rows": rows}))
    monkeypatch.setattr(sys, "argv", ["tables", str(report)])
    capsys.readouterr()
    tables.main()
    said = capsys.readouterr().out
    assert "| flux1 | encode | 10.0 | 9.09 to 11.1 | 300 |" in said
    assert "| flux1 | 10.0 | 0.80 |" in said
    assert "| flux1-trimmed | 20.0 | 0.80 |" in said
    assert "| flux1 | 10,000 | 50.0 |" in said
    assert "| 1,000 samples | 2,000 | 2,000 to 2,000 | 300 |" in said
