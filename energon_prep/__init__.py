"""energon-prep: raw images, videos and captions in, a dataset that Megatron's diffusion trainers
read out.

The library has the command line's verbs under the same names; importing it loads nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["PrepError", "SampleError", "encode", "index", "load_recipe", "verify"]

if TYPE_CHECKING:
    from energon_prep.errors import PrepError, SampleError
    from energon_prep.indexing import index
    from energon_prep.recipes.load import load_recipe
    from energon_prep.run.encode import encode
    from energon_prep.verifying import verify

_HOME = {
    "encode": "energon_prep.run.encode",
    "index": "energon_prep.indexing",
    "verify": "energon_prep.verifying",
    "load_recipe": "energon_prep.recipes.load",
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
