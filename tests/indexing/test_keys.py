from __future__ import annotations

from contextlib import closing

from hypothesis import given
from hypothesis import strategies as st

from energon_prep.indexing.keys import KeyRegister

tar_keys = st.lists(st.sets(st.text("abc", max_size=3), max_size=8), max_size=6)


@given(tar_keys)
def test_exactly_the_keys_of_earlier_tars_are_told(tars: list[set[str]]) -> None:
    first: dict[str, int] = {}
    with closing(KeyRegister()) as register:
        for number, keys in enumerate(tars):
            expected = sorted(
                f"{number}: {key}: the key is in {first[key]} too"
                for key in keys
                if first.setdefault(key, number) != number
            )
            assert sorted(register.add(str(number), keys)) == expected
