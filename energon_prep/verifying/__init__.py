"""Reopens a whole dataset and proves it."""

from __future__ import annotations

from energon_prep.verifying.report import VerifyReport
from energon_prep.verifying.run import verify

__all__ = ["VerifyReport", "verify"]
