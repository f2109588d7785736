"""Builds each repository once for all tests, in a hub's local cache of their own; no hub is asked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from energon_prep.encoders.quiet import quiet_libraries
from tests.published.repositories import REPOSITORIES

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="package", autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder / "hub"))
        yield folder


@pytest.fixture(scope="package")
def repository(cache_dir: Path) -> Callable[[str], Path]:
    """Hub id -> the folder of its files, which the cache has as those of its main branch."""

    @functools.cache
    def build(hf_id: str) -> Path:
        folder = cache_dir / "hub" / f"models--{hf_id.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs/main").write_text(COMMIT)
        with quiet_libraries():
            REPOSITORIES[hf_id](folder / "snapshots" / COMMIT)
        return folder / "snapshots" / COMMIT

    return build
