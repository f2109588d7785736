from __future__ import annotations

import pytest

from energon_prep.sources.patterns import is_chosen


@pytest.mark.parametrize(
    ("path", "include", "exclude", "chosen"),
    [
        ("a/1.jpg", (), (), True),
        ("a/1.jpg", ("*.jpg",), (), True),
        ("a/1.jpg", ("1.jpg",), (), True),
        ("a/1.jpg", ("a/*",), (), True),
        ("a/b/1.jpg", ("a/*",), (), True),
        ("a/1.jpg", ("*.png", "*.JPG"), (), False),
        ("a/1.jpg", ("*.jpg",), ("a/*",), False),
        ("a/1.jpg", (), ("b/*", "1.*"), False),
        ("train-00007-of-00010.parquet", ("train-{00000..00009}-of-*.parquet",), (), True),
        ("train-00010-of-00010.parquet", ("train-{00000..00009}-of-*.parquet",), (), False),
        ("{a}.jpg", (r"\{a\}.jpg",), (), True),
    ],
)
def test_which_paths_are_chosen(
    path: str, include: tuple[str, ...], exclude: tuple[str, ...], chosen: bool
) -> None:
    assert is_chosen(path, include=include, exclude=exclude) == chosen
