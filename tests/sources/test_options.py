from __future__ import annotations

import json
from typing import Any

import pytest

from energon_prep.errors import PrepError
from energon_prep.sources.options import SourceOptions


def test_options_are_rebuilt_from_their_description() -> None:
    options = SourceOptions(
        caption_keys=("a", "b:0.5"), include=("*.jpg",), captions="draw", seed=3
    )
    assert SourceOptions.parse(json.loads(json.dumps(options.describe()))) == options
    with pytest.raises(PrepError, match="not the options of a source that this version knows"):
        SourceOptions.parse({**options.describe(), "more": 1})


def test_caption_keys_may_have_weights() -> None:
    options = SourceOptions(caption_keys=("long:0.7", "a:b", "short", ":2"))
    assert options.caption_weights == {"long": 0.7, "a:b": 1.0, "short": 1.0, ":2": 1.0}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"captions": "second"}, "--captions 'second': give one of first, longest"),
        ({"caption_encoding": "klingon"}, "--caption-encoding 'klingon' is no encoding"),
        ({"caption_keys": ("long:0",)}, "--caption-key 'long:0': the weight must be above 0"),
        ({"include": ("{a",)}, r"--include or --exclude '\{a': Unbalanced braces"),
    ],
)
def test_values_that_can_mean_nothing_are_refused_at_once(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(PrepError, match=message):
        SourceOptions(**given)
