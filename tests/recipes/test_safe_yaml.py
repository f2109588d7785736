from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from energon_prep.errors import PrepError
from energon_prep.recipes.load import dump_recipe, load_recipe
from energon_prep.recipes.safe_yaml import parse_yaml
from tests.fuzz.seeds import yaml_bombs


def test_plain_data_is_read() -> None:
    assert parse_yaml("a: {b: 1, c: 0x10}\ne: {f: '*', g: &x [1]}") == {
        "a": {"b": 1, "c": 16},
        "e": {"f": "*", "g": [1]},
    }
    assert parse_yaml("") is None
    recipe = dump_recipe(load_recipe("dit"))
    assert parse_yaml(recipe) == yaml.safe_load(recipe)


def test_an_alias_is_refused_by_name() -> None:
    with pytest.raises(yaml.YAMLError, match=r"an alias \(\*x\).*write it out"):
        parse_yaml("a: &x [1]\nb: *x")


@pytest.mark.parametrize("name", yaml_bombs())
def test_a_bomb_is_refused_at_once(name: str) -> None:
    with pytest.raises(yaml.YAMLError):
        parse_yaml(yaml_bombs()[name].decode())


@pytest.mark.parametrize(
    "text",
    ["[" * 10**6, "- " * 10**5 + "1", "? " * 10**5, "".join(" " * i + "a:\n" for i in range(999))],
)
def test_deep_nesting_is_refused_before_it_takes_the_stack(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match="nested deeper"):
        parse_yaml(text)


def test_recipes_that_extend_each_other_or_are_huge_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"extends: {tmp_path}/b.yaml\n")
    (tmp_path / "b.yaml").write_text(f"extends: {tmp_path}/a.yaml\n")
    with pytest.raises(PrepError, match="extends"):
        load_recipe(tmp_path / "a.yaml")
    (tmp_path / "d.yaml").write_text("extends: dit\n'a(b': 1\n")
    with pytest.raises(PrepError, match=r"a\(b is not a field"):
        load_recipe(tmp_path / "d.yaml")
    (tmp_path / "c.yaml").write_text("name: " + "x" * 2**20)
    with pytest.raises(PrepError, match="more than"):
        load_recipe(tmp_path / "c.yaml")
