"""The text section of a recipe."""

from __future__ import annotations

from typing import Any

import pytest

from energon_prep.errors import PrepError
from energon_prep.recipes.load import load_recipe


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"template": "no place"}, r"template 'no place' must have the caption's place \{\} once"),
        ({"template": "{} and {}"}, r"must have the caption's place \{\} once"),
        (
            {"drop_tokens": 3},
            "drop_tokens and keep_start_token are of a template, and there is none",
        ),
        ({"keep_start_token": True}, "drop_tokens and keep_start_token are of a template"),
        (
            {"hidden_layer": 0},
            r"text\.0\.hidden_layer = 0: Input should be less than or equal to -1",
        ),
        (
            {"clean": "spotless"},
            r"text\.0\.clean = 'spotless'.*'none', 'whitespace', 'wan' or 'lower'",
        ),
        ({"compute_dtype": "fp16"}, "T5 and UMT5 overflow in fp16"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(PrepError, match=complaint):
        load_recipe("dit", {f"text.{field}": value for field, value in changes.items()})


def test_a_template_can_be_given_with_and_without_what_is_dropped_of_it() -> None:
    (text,) = load_recipe("dit", {"text.template": "A photo of {}."}).text
    assert (text.template, text.drop_tokens) == ("A photo of {}.", None)
    (text,) = load_recipe("dit", {"text.template": "Say {}", "text.drop_tokens": 0}).text
    assert text.drop_tokens == 0
