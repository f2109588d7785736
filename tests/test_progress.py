from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from energon_prep import progress
from energon_prep.pipeline.tally import Tally
from energon_prep.progress import counted, shown
from energon_prep.run.encode import shown_tally


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython as it is in Jupyter's kernel."""
    shell = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LONG", -1.0)


def test_a_script_is_shown_nothing_unless_it_asks(
    at_once: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with shown("encode", None, unit="samples") as show:
        assert show is None
    with shown("encode", True, unit="samples") as show:
        assert show is not None
        for done in range(40):
            show(done, 40, "2 rejected")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 9
    assert lines[0].startswith("encode: 4 of 40 samples, ")
    assert lines[0].endswith(" s left, 2 rejected")


@pytest.mark.parametrize("shell", [None, SimpleNamespace(config={"TerminalIPythonApp": {}})])
def test_ipython_in_a_terminal_is_no_notebook(
    monkeypatch: pytest.MonkeyPatch, shell: object
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    with counted("verify", None) as on_change:
        assert on_change is None


def test_a_notebook_is_shown_a_bar_without_asking(
    notebook: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    @contextmanager
    def bar(what: str) -> Iterator[Any]:
        yield lambda *counts: told.append((what, *counts))

    monkeypatch.setattr(progress, "_bar", bar)
    monkeypatch.setattr(progress, "_has_widgets", lambda: True)
    with shown_tally(None) as on_change:
        assert on_change is not None
        on_change(Tally(num_planned=3, num_written=1))
    with counted("verify", None) as count:
        assert count is not None
        count(1, 2)
    assert told == [("encode", 1, 3, ""), ("verify", 1, 2, "")]
    with shown_tally(False) as on_change:
        assert on_change is None


def test_a_notebook_that_cannot_draw_a_bar_gets_lines(
    notebook: None,
    at_once: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(progress, "_has_widgets", lambda: False)
    with shown_tally(None) as on_change:
        assert on_change is not None
        on_change(Tally(num_planned=2, num_written=1))
    assert capsys.readouterr().err == "encode: 1 of 2 samples, 0 s left\n"


def test_a_function_of_the_user_is_called_as_it_is() -> None:
    calls: list[Any] = []
    with shown_tally(calls.append) as on_change:
        assert on_change == calls.append
    with counted("index", lambda *counts: calls.append(counts)) as count:
        assert count is not None
        count(1, 2)
    assert calls == [(1, 2)]
