from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import megatron
import pytest

from task_encoders import parallel

STATE = """
def model_parallel_is_initialized(): return {initialized}
def get_context_parallel_world_size(): return 4
def get_tensor_model_parallel_world_size(): return 2
"""


@pytest.fixture
def core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty megatron.core, which is another part of Energon's namespace package."""
    monkeypatch.setattr(megatron, "__path__", [*megatron.__path__, str(tmp_path)])
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "__init__.py").write_text("")
    importlib.invalidate_caches()
    yield tmp_path / "core"
    for name in [name for name in sys.modules if name.startswith("megatron.core")]:
        del sys.modules[name]
    vars(megatron).pop("core", None)


def test_without_megatron_core_nothing_is_spread() -> None:
    assert parallel.context_parallel_size() == parallel.tensor_parallel_size() == 1


@pytest.mark.parametrize(("initialized", "context", "tensor"), [(True, 4, 2), (False, 1, 1)])
def test_what_megatron_core_says(core: Path, initialized: bool, context: int, tensor: int) -> None:
    (core / "parallel_state.py").write_text(STATE.format(initialized=initialized))
    assert (parallel.context_parallel_size(), parallel.tensor_parallel_size()) == (context, tensor)


def test_a_megatron_core_that_lacks_something_is_an_error(core: Path) -> None:
    (core / "parallel_state.py").write_text("import a_package_that_is_missing")
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_missing"):
        parallel.context_parallel_size()
