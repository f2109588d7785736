"""docs/api.md says what the library's verbs take and return."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

import energon_prep
from docs.api import PAGE, documented_fields, page


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read() == PAGE.holding(page()), "run python -m docs.api --write"
    for name in energon_prep.__all__:
        assert re.search(rf"^(#+ {name}|`{name}`: .*)$", page(), re.MULTILINE), name


@pytest.mark.parametrize(
    "report", [energon_prep.EncodeReport, energon_prep.IndexReport, energon_prep.VerifyReport]
)
def test_every_field_of_a_report_is_explained(report: type) -> None:
    fields = list(documented_fields(report))
    assert [name for name, _, _ in fields] == [f.name for f in dataclasses.fields(report)]
    assert all(meaning for _, _, meaning in fields)


def test_the_page_s_example_runs(raw: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(import energon_prep\n.*?)```", page(), re.DOTALL)
    (tmp_path / "PHOTOS").symlink_to(raw)
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "40 {}\n"
    assert done.stderr == ""  # a plain script is told nothing unless it asks
