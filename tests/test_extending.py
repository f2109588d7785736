"""The classes that docs/extending.md shows, as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import energon_prep

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"


def test_the_classes_of_the_page_make_a_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "mine_of_the_page.py").write_text("\n\n".join(blocks), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    classes = {
        "visual.model": "mine_of_the_page:MyVae",
        "text.model": "mine_of_the_page:MyText",
        "target": "mine_of_the_page:MyTrainer",
    }
    report = energon_prep.encode(
        "10",
        tmp_path / "dst",
        set={**classes, "visual.options.channels": 8},
        resolution=64,
        source_kind="mine_of_the_page:MySource",
        device="cpu",
        torch_threads=1,
    )
    assert (report.num_written, report.rejects) == (9, {"read: unlucky": 1})
    energon_prep.index(tmp_path / "dst")
    assert energon_prep.verify(tmp_path / "dst").ok
