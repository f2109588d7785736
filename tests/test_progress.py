from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from energon_prep import progress
from energon_prep.pipeline.tally import Tally
from energon_prep.progress import State, counted, in_words, shown
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
            show(State(done=done, total=40, rate=8.0, seconds_left=90.0, words="2 rejected"))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 9
    assert lines[0].startswith("encode: 4 of 40 samples, 8.0/s, 0:01:30 left, until ")
    assert lines[0].endswith(", 2 rejected")


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
        yield lambda state: told.append((what, state.done, state.total))

    monkeypatch.setattr(progress, "_bar", bar)
    monkeypatch.setattr(progress, "_has_widgets", lambda: True)
    with shown_tally(None) as on_change:
        assert on_change is not None
        on_change(Tally(num_planned=3, num_written=1))
    with counted("verify", None) as count:
        assert count is not None
        count(1, 2)
    assert told == [("encode", 1, 3), ("verify", 1, 2)]
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
    assert capsys.readouterr().err == "encode: 1 of 2 samples\n"


def test_a_function_of_the_user_is_called_as_it_is() -> None:
    calls: list[Any] = []
    with shown_tally(calls.append) as on_change:
        assert on_change == calls.append
    with counted("index", lambda *counts: calls.append(counts)) as count:
        assert count is not None
        count(1, 2)
    assert calls == [(1, 2)]


def test_a_log_is_told_at_least_every_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_SILENCE", 0.01)
    with shown("encode", True, unit="samples") as show:
        assert show is not None
        told = ""
        while told.count("nothing done yet") < 2:
            told += capsys.readouterr().err
        show(State(done=1, total=100, rate=0.25, seconds_left=396.0))
        while told.count("encode: 1 of 100 samples, 0.250/s, 0:06:36 left, until ") < 2:
            told += capsys.readouterr().err


def test_days_are_told_as_days() -> None:
    state = State(done=1, total=2, rate=1234.5, seconds_left=2 * 86400 + 3661.0)
    rate, left = in_words(state)
    assert rate == "1234.5/s"
    assert left.startswith("2 d 1:01:01 left, until ")
    assert in_words(State(done=1, total=2)) == ("", "")


def test_a_short_run_is_not_told_line_after_line(capsys: pytest.CaptureFixture[str]) -> None:
    with shown("encode", True, unit="samples") as show:
        assert show is not None
        show.__dict__["_told"] -= 60.0  # as after models that took a minute to load
        for done in range(1, 41):
            show(State(done=done, total=40))
    assert capsys.readouterr().err == "encode: 4 of 40 samples\n"
