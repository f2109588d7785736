"""Tiny weights are built once for all tests, away from the user's cache; the hub is never asked."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from energon_prep.demo.tiny import build_pipeline
from tests.encoders.recipes import SMALL


@pytest.fixture(scope="package", autouse=True)
def away_from_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder / "hub"))
        yield


@pytest.fixture
def t5_folder(tmp_path: Path) -> Path:
    """A T5 with its tokenizer beside it, as a model's own repository is laid out."""
    built = build_pipeline(SMALL, "tiny")
    shutil.copytree(built / "text_encoder", tmp_path / "model")
    shutil.copytree(built / "tokenizer", tmp_path / "model", dirs_exist_ok=True)
    return tmp_path / "model"
