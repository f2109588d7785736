"""Builds each repository once for all tests, in a hub's local cache of their own; no hub is
asked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from tests.published.repositories import snapshot


@pytest.fixture(scope="package", autouse=True)
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder / "hub"))
        yield folder / "hub"


@pytest.fixture(scope="package")
def repository(hub: Path) -> Callable[[str], Path]:
    """Hub id -> the folder of its files, which the cache has as those of its main branch."""
    return functools.partial(snapshot, hub)
