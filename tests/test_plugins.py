"""Classes that users bring: how names find them, what they may leave out, and what is told of
faults.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from energon_prep import plugins
from energon_prep.encoders.own import OwnText, OwnVisual
from energon_prep.errors import PrepError
from energon_prep.recipes.load import load_recipe
from energon_prep.recipes.model import Text, Visual
from energon_prep.sources.account import Account
from energon_prep.sources.base import Piece
from energon_prep.sources.detect import make_source, open_source
from energon_prep.targets import get_target
from tests.encoders.loading import load_texts, load_visual

CPU = torch.device("cpu")
PIXELS = torch.full((2, 1, 16, 32, 3), 100, dtype=torch.uint8)


def visual(name: str, **options: Any) -> OwnVisual:
    return OwnVisual(Visual(model=f"tests.own_classes:{name}", dtype="fp32", options=options), CPU)


def text(name: str) -> OwnText:
    spec = Text(name="t5", model=f"tests.own_classes:{name}", dtype="fp32", max_tokens=6)
    return OwnText(spec, CPU)


def test_encode_is_all_that_an_encoder_needs() -> None:
    encoder = visual("Halves")
    latents = encoder.launch(PIXELS, [0, 1])()
    assert (latents.shape, latents.dtype) == ((2, 3, 1, 2, 4), torch.float32)
    assert latents.unique().tolist() == [50.0]
    assert (encoder.spatial_factor, encoder.temporal_factor) == (8, None)
    encoder.move_to("meta")
    assert encoder._own.where == ["cpu", "meta"]


def test_captions_come_as_they_are_without_a_tokenizer() -> None:
    encoder = text("Letters")
    (first, second) = encoder.launch(encoder.tokenize(["\u00e9t\u00e9", "a"]))()
    assert encoder._own.given == [["\u00e9t\u00e9", "a"]]
    assert (first.num_tokens, second.num_tokens) == (3, 1)
    assert second.hidden is not None
    assert second.hidden.untyped_storage().nbytes() == 2 * 4, "no view of the batch"
    (pooled,) = text("Pooled").launch([[97]])()
    assert pooled.pooled is not None
    assert (pooled.hidden, pooled.pooled.dtype, pooled.truncated) == (None, torch.float32, True)


FAULTS = [
    (lambda: visual("Nothing"), "lacks encode: a visual encoder must have encode"),
    (lambda: visual("Halfs"), "tests.own_classes has no Halfs, did you mean Halves?"),
    (lambda: visual("NO_CLASS"), "is a int, not a class"),
    (lambda: visual("Broken"), "cannot be made with device, dtype as .*OSError: the checkpoint is"),
    (lambda: visual("Halves", depth=2), "with depth, device, dtype as .*TypeError: .*'depth'"),
    (lambda: visual("Halves", device="cuda"), "device is given by energon-prep"),
    (
        lambda: visual("Halves", factor=4).launch(PIXELS, [0, 1]),
        r"made \[2, 3, 1, 4, 8\] of pixels .*, not \[2, C, 1, 2, 4\]: set its spatial_factor",
    ),
    (lambda: visual("Letters"), "unexpected keyword|missing 1 required"),
    (lambda: text("Letters").move_to("cpu"), "neither move_to nor to: leave out --phases"),
    (lambda: text("Letters").launch([[97] * 7]), "gave 7 tokens for a caption, max_tokens is 6"),
    (lambda: text("Silent").launch([[97]]), "gave 0 embeddings of 1 captions"),
    (lambda: text("Wordy").describe(), "describe gives what JSON cannot hold"),
    (lambda: get_target("tests.own_classes:Nothing"), "lacks part_names, build, check: a target"),
    (lambda: get_target("tests.nowhere:T"), "cannot be imported .ModuleNotFoundError: No module"),
]


@pytest.mark.parametrize(("use", "message"), FAULTS)
def test_faults_are_told_with_their_cause(use: Any, message: str) -> None:
    with pytest.raises(PrepError, match=message):
        use()


def test_options_reach_every_text_encoder_and_are_for_own_classes_alone() -> None:
    own = {"text.model": "tests.own_classes:Pooled", "text.options.size": 2}
    recipe = load_recipe("flux1", {**own, "text.clip.options.more": True})
    assert [spec.options for spec in recipe.text] == [{"size": 2}, {"size": 2, "more": True}]
    with pytest.raises(PrepError, match="cannot be made with size, device, dtype, max_tokens"):
        load_texts(recipe, weights=None, device="cpu")
    with pytest.raises(PrepError, match=r"visual\.options are for a class of your own"):
        load_visual(load_recipe("dit", {"visual.options.a": 1}), weights="tiny", device="cpu")


def test_own_encoders_stand_beside_tiny_ones() -> None:
    changes = {"visual.model": "tests.own_classes:Halves", "resize.resolution": 64}
    recipe = load_recipe("dit", changes)
    assert isinstance(load_visual(recipe, weights="tiny", device="cpu"), OwnVisual)
    (t5,) = load_texts(recipe, weights="tiny", device="cpu")
    assert t5.describe()["class"] == "T5EncoderModel"


def test_a_source_is_rebuilt_and_counted_and_held_to_its_listing(tmp_path: Path) -> None:
    kind, account = "tests.own_classes:OffByOne", Account()
    source = make_source(open_source("s3://anything", kind=kind).describe())
    assert source.describe()["root"] == "s3://anything"
    assert len(list(source.list(account))) == account.num_samples == account.num_found == 2
    with pytest.raises(PrepError, match=r"read gives 1 samples of .*, where list gave 2"):
        list(source.read(Piece("a", 0, 2)))


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that says when it runs, on the path."""
    module = tmp_path / "stranger.py"
    module.write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    return module


def test_what_a_dataset_names_runs_only_if_it_is_what_the_user_has(stranger: Path) -> None:
    elsewhere = stranger.parent / "dataset"
    about = {"sha256": plugins._sha256(stranger)}
    plugins.refuse_other_module("target", "stranger:T", about, outside=elsewhere)
    for name, recorded, outside in (
        ("stranger:T", {}, elsewhere),  # it is not known to be the same
        ("stranger:T", about, stranger.parent),  # it came with the dataset
        ("nowhere:T", about, elsewhere),
    ):
        with pytest.raises(PrepError, match=rf"give --target {name} to use what is there"):
            plugins.refuse_other_module("target", name, recorded, outside=outside)
    assert not (stranger.parent / "ran").exists()


def test_two_distributions_with_one_name_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for number in (1, 2):
        info = tmp_path / f"d{number}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: d{number}\nVersion: 1\n")
        points = f"[energon_prep.target]\nmine = d{number}:T\n"
        (info / "entry_points.txt").write_text(points)
    with pytest.raises(PrepError, match=r"several distributions \(d1:T, d2:T\): give one"):
        get_target("mine")
    with pytest.raises(PrepError, match=r"the targets are dit, .*, generic, mine; one of your own"):
        get_target("yours")
