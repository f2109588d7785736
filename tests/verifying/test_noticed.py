"""Damage of every kind to every file of a dataset is noticed, and the page says so."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

SCRIPT = Path(__file__).parents[2] / "docs" / "noticed.py"


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("noticed", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["noticed"] = module  # where its dataclass looks its module up
    spec.loader.exec_module(module)
    return module


def test_the_page_says_what_is_noticed(tmp_path: Path) -> None:
    noticed = _script()
    made = noticed.table(tmp_path, flips=1)  # which fails for what is missed and not harmless
    page = noticed.PAGE.read_text(encoding="utf-8")
    written = page.partition(noticed.BEGIN)[2].partition(noticed.END)[0]
    assert written.strip() == made.strip(), "run python docs/noticed.py --write"
