from __future__ import annotations

import sys

import pytest
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from hypothesis import given
from hypothesis import strategies as st

from energon_prep.encoders.clean import cleaner
from energon_prep.errors import PrepError

MESSY = (
    "  Tom &amp;amp; Jerry \u2014 the  caf\u00c3\u00a9\n\n&lt;b&gt; "
    "it\u00e2\u20ac\u2122s\u00a0NIGHT "
)


def test_each_cleaning_does_what_it_says() -> None:
    assert cleaner("none")(MESSY) == MESSY
    assert cleaner("whitespace")(" a  b\n\t c\u00a0d ") == "a b c d"
    assert cleaner("wan")(MESSY) == "Tom & Jerry \u2014 the caf\u00e9 <b> it's NIGHT"
    assert cleaner("lower")("  A  Red CAT\n") == "a  red cat"


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["&amp;", "amp;", "&lt", "\u00c3\u00a9", "  ", "a"])).map("".join)
)
def test_wan_is_what_the_pipeline_does(caption: str) -> None:
    assert cleaner("wan")(caption) == prompt_clean(caption)


@given(st.text(max_size=60))
def test_white_space_is_single_and_within(caption: str) -> None:
    cleaned = cleaner("whitespace")(caption)
    assert cleaned == " ".join(cleaned.split())


def test_without_ftfy_the_line_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ftfy", None)
    with pytest.raises(PrepError, match="needs ftfy: install it with `pip install ftfy`"):
        cleaner("wan")
    assert cleaner("lower")("A") == "a"
