from __future__ import annotations

from energon_prep.verifying.problems import Problems


def test_all_are_counted_and_the_first_kept() -> None:
    problems = Problems(3)
    problems.add("a")
    problems.merge(["b"], 10)
    problems.extend(["c", "d"])
    assert problems.kept == ("a", "b", "c")
    assert problems.count == 13
