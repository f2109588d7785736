"""Bytes of others end as a value or as a fault, within the deadline, the memory and the folder
given to them.
"""

from __future__ import annotations

import logging
import pickle
import resource
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.parsers import FAULTS, PARSERS
from tests.fuzz.seeds import remove_content

DEADLINE = 2.0  #: seconds of processor time for one input
MEMORY = 2 * 2**30  #: bytes beyond what the process has

Edit = tuple[str, float, bytes]


class TooSlowError(BaseException):
    """No Exception, which a parser might take for its own."""


@st.composite
def mutations(draw: st.DrawFn, name: str) -> bytes:
    """A seed with a few bytes changed, inserted, cut out or repeated."""
    data = draw(st.sampled_from(PARSERS[name].seeds()))
    edits: list[Edit] = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["put", "insert", "cut", "end", "repeat"]),
                st.floats(0, 1),
                st.binary(max_size=9),
            ),
            max_size=4,
        )
    )
    for kind, where, new in edits:
        at = int(where * len(data))
        match kind:
            case "put":
                data = data[:at] + new + data[at + len(new) :]
            case "insert":
                data = data[:at] + new + data[at:]
            case "cut":
                data = data[:at] + data[at + 7 * len(new) :]
            case "end":
                data = data[:at]
            case "repeat":
                data = data[:at] + data[at : at + 64] * len(new) + data[at:]
    return data


@contextmanager
def limits() -> Iterator[None]:
    """Less memory, and an alarm."""

    def stop(*_: object) -> None:
        raise TooSlowError(f"more than {DEADLINE} s")

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGPROF, stop)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, before[1]))
        signal.setitimer(signal.ITIMER_PROF, DEADLINE)
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as parent:
        (Path(parent) / "in").mkdir()
        yield Path(parent) / "in"
    logging.disable(logging.NOTSET)


def feed(name: str, data: bytes, folder: Path) -> None:
    with limits(), suppress(*FAULTS):
        PARSERS[name].feed(data, folder)
    remove_content(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["in"]


@pytest.mark.parametrize("name", PARSERS)
def test_every_seed_ends_well(name: str, folder: Path) -> None:
    for data in PARSERS[name].seeds():
        feed(name, data, folder)


@pytest.mark.parametrize("name", PARSERS)
def test_mutated_bytes_end_well(name: str, folder: Path) -> None:
    @settings(
        max_examples=120,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(mutations(name))
    def run(data: bytes) -> None:
        feed(name, data, folder)

    run()


def poison(marker: Path) -> list[bytes]:
    """Pickles that create a file when they are run, in each protocol."""

    class Poison:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (marker,)

    return [pickle.dumps(Poison(), protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]


@pytest.mark.parametrize("name", PARSERS)
def test_no_parser_runs_a_pickle(name: str, folder: Path, tmp_path: Path) -> None:
    for data in poison(tmp_path / "ran"):
        feed(name, data, folder)
    assert not (tmp_path / "ran").exists()
