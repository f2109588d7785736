from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from energon_prep.sources.path_set import PathSet

_PATHS = st.sets(st.text(min_size=1) | st.just("caf\udce9.jpg"))


@given(_PATHS, _PATHS)
def test_it_holds_what_was_added_and_nothing_else(added: set[str], others: set[str]) -> None:
    paths = PathSet()
    for path in added:
        paths.add(path)
    assert {path for path in added | others if path in paths} == added
    paths.add("later")
    assert "later" in paths
