"""energon-prep: raw images, videos and captions in, a dataset that Megatron's diffusion trainers
read out.

The library has the command line's verbs under the same names; importing it loads nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "DryRun",
    "EncodeReport",
    "IndexReport",
    "PrepError",
    "RepairReport",
    "SampleError",
    "VerifyReport",
    "dry_run",
    "encode",
    "index",
    "load_recipe",
    "repair",
    "verify",
]

if TYPE_CHECKING:
    from energon_prep.curate.repair import RepairReport, repair
    from energon_prep.errors import PrepError, SampleError
    from energon_prep.indexing import IndexReport, index
    from energon_prep.recipes.load import load_recipe
    from energon_prep.run.encode import dry_run, encode
    from energon_prep.run.report import DryRun, EncodeReport
    from energon_prep.verifying import VerifyReport, verify

_HOME = {
    "encode": "energon_prep.run.encode",
    "dry_run": "energon_prep.run.encode",
    "index": "energon_prep.indexing",
    "verify": "energon_prep.verifying",
    "repair": "energon_prep.curate.repair",
    "load_recipe": "energon_prep.recipes.load",
    "EncodeReport": "energon_prep.run.report",
    "DryRun": "energon_prep.run.report",
    "IndexReport": "energon_prep.indexing",
    "VerifyReport": "energon_prep.verifying",
    "RepairReport": "energon_prep.curate.repair",
    "PrepError": "energon_prep.errors",
    "SampleError": "energon_prep.errors",
}


def __getattr__(name: str) -> Any:
    """Import a verb when it is first used (PEP 562), so that ``energon-prep --help`` answers at
    once.
    """
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOME[name]), name)
    # a submodule of the same name (index, verify) must not hide the function
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """For tab completion, before anything is imported."""
    return sorted({*globals(), *__all__})
