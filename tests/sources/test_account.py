from __future__ import annotations

from collections import Counter

import pytest

from energon_prep.errors import PrepError
from energon_prep.sources.account import FURTHER_KINDS, Account


def test_what_was_found_and_not_sorted_is_an_error() -> None:
    account = Account()
    account.find(5)
    account.add_sample()
    account.add_companion(2)
    account.pass_over(".svg", "a.svg")
    with pytest.raises(
        PrepError, match=r"5 things were found .* 1 samples, 2 companions and 1 passed over make 4"
    ):
        account.check()
    account.pass_over(".svg", "b.svg")
    account.check()
    assert account.describe()["passed_over"] == {".svg": 2}
    assert account.describe()["examples"] == {".svg": "a.svg"}


def test_kinds_and_examples_can_be_printed_and_are_not_without_end() -> None:
    account = Account()
    for i in range(150):
        account.pass_over(f".{i}\udce9", f"caf\udce9.{i}")
    assert account.passed_over.total() == 150
    assert account.passed_over[FURTHER_KINDS] == 50
    for text in (*account.passed_over, *account.examples.values()):
        text.encode("utf-8")


def test_the_parts_that_most_samples_have_are_told() -> None:
    account = Account()
    account.tell_parts(Counter())
    assert account.told == []
    account.tell_parts(Counter({f"{number}.png": number for number in range(1, 8)}))
    assert account.told == [
        "further parts of samples are left out: 7 x 7.png, 6 x 6.png, 5 x 5.png, 4 x 4.png, 3 "
        "x 3.png (--carry NAME keeps them)"
    ]
