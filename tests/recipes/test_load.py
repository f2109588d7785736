from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from energon_prep.errors import PrepError
from energon_prep.recipes.load import dump_recipe, load_recipe, recipe_names
from energon_prep.targets import TARGETS


@pytest.mark.parametrize("name", recipe_names())
def test_preset_round_trips_through_yaml(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.target in TARGETS
    path = tmp_path / "mine.yaml"
    path.write_text(dump_recipe(recipe))
    assert load_recipe(path) == recipe


def test_changes_reach_their_fields() -> None:
    recipe = load_recipe(
        "dit", {"text.max_tokens": 226, "resize.resolution": "720x1280", "visual.dtype": "fp32"}
    )
    assert recipe.text[0].max_tokens == 226
    assert recipe.resize.resolution == (720, 1280)
    assert recipe.visual.dtype == "fp32"


def test_one_text_encoder_is_changed_by_name_or_number() -> None:
    texts = [
        {"name": "t5", "model": "t5-xxl", "max_tokens": 512},
        {"name": "clip", "model": "clip-l", "max_tokens": 77},
    ]
    both = load_recipe("dit", {"text": texts})
    by_name = load_recipe(both, {"text.clip.max_tokens": 70})
    assert [text.max_tokens for text in by_name.text] == [512, 70]
    assert load_recipe(both, {"text.1.max_tokens": 70}) == by_name
    assert [text.max_tokens for text in load_recipe(both, {"text.max_tokens": 50}).text] == [50, 50]
    with pytest.raises(PrepError, match=r"no text encoder 'clop'; it has t5, clip"):
        load_recipe(both, {"text.clop.max_tokens": 70})


def test_a_file_extends_a_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"extends": "dit", "resize": {"resolution": 256}}))
    recipe = load_recipe(path)
    assert (recipe.name, recipe.resize.resolution, recipe.resize.mode) == (
        "mine",
        (256, 256),
        "bucket",
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"resize.resolutoin": 512},
            r"resize.resolutoin is not a field of resize, did you mean resize.resolution\?",
        ),
        (
            {"text.max_token": 5},
            r"text.0.max_token is not a field of text.0, did you mean text.0.max_tokens\?",
        ),
        ({"vizual": {}}, r"vizual is not a field of a recipe, did you mean visual\?"),
        ({"zzz": 1}, r"zzz is not a field of a recipe, it has name, description, target"),
        ({"samples_per_shard": 0}, r"samples_per_shard = 0: Input should be greater than 0"),
        ({"resize.mode": "bukket"}, r"resize.mode = 'bukket': Input should be 'bucket'"),
        (
            {"resize.resolution": "512x"},
            "resize.resolution = '512x': give a size as N or HxW, such as 512 or 720x1280$",
        ),
        ({"resize.resolution": "axb"}, "resize.resolution = 'axb': give a size as N or HxW"),
        ({"resize.resolution": "0"}, "dit: resize.resolution = '0': [^;]* greater than 0$"),
        ({"text.max_tokens": "x"}, r"dit: text.0.max_tokens = 'x': [^;]* valid integer[^;]*$"),
        ({"batch_size": -3}, "dit: batch_size = -3: Input should be greater than 0, or 'auto'$"),
        ({"name.x": 1}, r"--set name.x: name is a value, it has no field 'x'"),
        ({"text.compute_dtype": "fp16"}, r"T5 and UMT5 overflow in fp16"),
    ],
)
def test_a_wrong_change_is_explained(changes: dict[str, object], message: str) -> None:
    with pytest.raises(PrepError, match=message):
        load_recipe("dit", changes)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(PrepError, match=r"no recipe 'nemodit', did you mean 'nemo-dit'\?"):
        load_recipe("nemodit")
    with pytest.raises(PrepError, match=r"no recipe '../presets/dit'"):
        load_recipe("../presets/dit")


@pytest.mark.parametrize("text", ["[1, 2]", "{", "extends: mine.yaml", "name: x"])
def test_a_broken_file_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(PrepError, match="recipe"):
        load_recipe(path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PrepError, match=r"cannot read the recipe .*none.yaml"):
        load_recipe(tmp_path / "none.yaml")


def test_what_a_field_may_be_is_told_without_pydantics_own_names() -> None:
    with pytest.raises(
        PrepError,
        match=r"dit: batch_size = 'many': Input should be a valid integer, .*, or 'auto'$",
    ):
        load_recipe("dit", {"batch_size": "many"})


def test_what_is_no_yaml_is_told_with_its_place_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: dit\ntext:\n  - model: [a\n")
    with pytest.raises(PrepError, match=r"mine\.yaml: line 4, column 1: while parsing [^\n]*$"):
        load_recipe(path)
