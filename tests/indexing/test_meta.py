from __future__ import annotations

import pytest
import yaml

from energon_prep.errors import PrepError
from energon_prep.indexing.meta import decide_dataset, render_dataset

OLD = render_dataset({"target": "dit"})
NEW = render_dataset({"target": "wan"})


def test_the_file_is_energons_crude_webdataset() -> None:
    assert yaml.safe_load(NEW) == {
        "__module__": "megatron.energon",
        "__class__": "CrudeWebdataset",
        "subflavors": {"target": "wan"},
    }
    assert "subflavors" not in yaml.safe_load(render_dataset({}))


@pytest.mark.parametrize("force", [False, True])
def test_an_absent_or_outdated_file_is_written(force: bool) -> None:
    assert decide_dataset(None, NEW, force=force) == "written"
    assert decide_dataset(OLD, NEW, force=force) == "written"
    assert decide_dataset(NEW, NEW, force=force) == "unchanged"


@pytest.mark.parametrize(
    "edited",
    [OLD.replace("dit", "my-dit"), OLD + "# a remark\n", OLD.split("\n", 1)[1], "no: [yaml", ""],
)
def test_an_edited_file_is_kept_unless_forced(edited: str) -> None:
    assert decide_dataset(edited, NEW, force=False) == "kept"
    assert decide_dataset(edited, NEW, force=True) == "written"


def test_a_file_of_others_that_says_the_same_is_no_matter() -> None:
    assert decide_dataset(NEW.split("\n", 1)[1], NEW, force=False) == "unchanged"


def test_subflavors_yaml_cannot_hold_are_refused() -> None:
    with pytest.raises(PrepError, match="plain values"):
        render_dataset({"x": object()})
