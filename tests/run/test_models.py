"""A destination and the models it was begun with: compared by names and files, not loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from safetensors.torch import load_file, save_file

import energon_prep
from energon_prep.demo.tiny import build_pipeline
from energon_prep.errors import PrepError, UsageError
from energon_prep.executors.local import LocalExecutor
from energon_prep.recipes.load import load_recipe
from tests.encoders.test_weights_on_hub import cache_on_hub

OPTIONS: dict[str, Any] = {"resolution": 64, "limit": 4, "device": "cpu", "torch_threads": 1}


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A checkpoint of the user's."""
    folder = tmp_path / "pipeline"
    shutil.copytree(build_pipeline(load_recipe("dit"), "tiny"), folder)
    return folder


@pytest.fixture
def no_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_given: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(LocalExecutor, "load", load)


def edit_weights(folder: Path) -> None:
    (path,) = folder.glob("*.safetensors")
    tensors = load_file(path)
    first = min(tensors)
    save_file({**tensors, first: tensors[first] + 1}, path, metadata={"format": "pt"})


def encode(raw: Path, dest: Path, **options: Any) -> Any:
    return energon_prep.encode(raw, dest, **{**OPTIONS, **options})


@pytest.mark.parametrize("is_whole", [True, False])
def test_another_checkpoint_is_refused_before_it_is_loaded(
    raw: Path, tmp_path: Path, pipeline: Path, request: pytest.FixtureRequest, is_whole: bool
) -> None:
    dest, other = tmp_path / "dst", tmp_path / "other"
    encode(raw, dest, weights=str(pipeline))
    if not is_whole:
        (dest / ".energon-prep/ledger/shard_000000.json").unlink()
    shutil.copytree(pipeline, other)
    request.getfixturevalue("no_loading")
    for option, named in (
        ({"weights": str(other)}, "encoders.visual.model"),
        ({"weights": "tiny"}, 'encoders.visual.model: ".*pipeline" there, "tiny" now'),
        ({"weights": "owner/name"}, 'encoders.visual.model: ".*" there, "owner/name" now'),
    ):
        with pytest.raises(UsageError, match=named):
            encode(raw, dest, **option)
    edit_weights(pipeline / "text_encoder")
    with pytest.raises(UsageError, match=r"encoders\.text\.0\.weights\.sha256: .* there, .* now"):
        encode(raw, dest, weights=str(pipeline))
    shutil.rmtree(pipeline / "text_encoder")
    with pytest.raises(PrepError, match="see that the folder is whole"):
        encode(raw, dest, weights=str(pipeline))


@pytest.mark.parametrize("weights", ["tiny", "folder"])
def test_the_same_checkpoint_has_nothing_to_do_and_is_not_loaded(
    raw: Path, tmp_path: Path, pipeline: Path, request: pytest.FixtureRequest, weights: str
) -> None:
    given = str(pipeline) if weights == "folder" else weights
    encode(raw, tmp_path / "dst", weights=given)
    request.getfixturevalue("no_loading")
    assert encode(raw, tmp_path / "dst", weights=given).num_resumed == 4


def test_a_hub_that_cannot_be_reached_is_told_where_no_model_is_needed(
    raw: Path,
    tmp_path: Path,
    pipeline: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = cache_on_hub("owner/pipeline")
    shutil.copytree(pipeline, snapshot, dirs_exist_ok=True)
    encode(raw, tmp_path / "dst", weights="owner/pipeline")
    encoders = json.loads((tmp_path / "dst/.energon-prep/run.json").read_text())["encoders"]
    assert encoders["visual"]["revision"] == snapshot.name
    encode(raw, tmp_path / "dst", weights="owner/pipeline")
    assert not caplog.messages
    shutil.rmtree(tmp_path / "hub")
    encode(raw, tmp_path / "dst", weights="owner/pipeline")
    (told,) = caplog.messages
    assert "the models' names are those of the dataset, their files unseen" in told
    assert "owner/pipeline" in told
    with pytest.raises(UsageError, match='"owner/pipeline" there, "owner/another" now'):
        encode(raw, tmp_path / "dst", weights="owner/another")
