"""Damage of every kind to every file of a dataset is noticed, and the page says so."""

from __future__ import annotations

from pathlib import Path

from docs.noticed import PAGE, table


def test_the_page_says_what_is_noticed(tmp_path: Path) -> None:
    made = table(tmp_path, flips=1)  # which fails for what is missed and not harmless
    assert PAGE.read() == PAGE.holding(made), "run python -m docs.noticed --write"
