"""What works on Energon 5.2, 6.0 and 7; that it does is shown by ``make compat``."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace

import task_encoders
from task_encoders.base import BytesTaskEncoder, _leave_bytes

ROOT = Path(__file__).parents[2]

#: What each of these versions has under the same name.
EVERYWHERE = {
    "BaseWrapperDataset",
    "Batch",
    "Cooker",
    "EPath",
    "FatalSampleError",
    "Sample",
    "SkipSample",
    "SystemRng",
    "TaskEncoder",
    "WorkerConfig",
    "basic_sample_keys",
    "stateless",
}


def test_nothing_is_imported_that_a_version_lacks() -> None:
    imported = {
        alias.name
        for package in ("cookers", "task_encoders")
        for path in (ROOT / package).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("megatron.energon")
        for alias in node.names
    }
    assert imported <= EVERYWHERE
    assert "TaskEncoder" in imported


def test_every_task_encoder_gets_bytes() -> None:
    names = [name for name in task_encoders.__all__ if name.endswith("TaskEncoder")]
    encoders = [getattr(task_encoders, name) for name in names]
    assert len(encoders) == 5
    assert all(issubclass(encoder, BytesTaskEncoder) for encoder in encoders)
    assert all(encoder.decoder is None for encoder in encoders)


def test_the_decoders_that_datasets_of_energon_5_and_6_have_are_taken_away() -> None:
    inner = SimpleNamespace(_decoder=print)
    joined = SimpleNamespace(inner_datasets=[inner])
    single = SimpleNamespace(_decoder=print)
    for dataset in ((joined, 1.0), single, SimpleNamespace()):
        _leave_bytes(dataset)
    assert (inner._decoder, single._decoder) == (None, None)
