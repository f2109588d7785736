""".nv-meta, which makes a folder of tars a Megatron-Energon dataset."""

from __future__ import annotations

from energon_prep.indexing.build import IndexReport, index

__all__ = ["IndexReport", "index"]
