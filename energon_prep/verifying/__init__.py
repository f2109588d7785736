"""Reopens a whole dataset and proves it."""

from __future__ import annotations

from energon_prep.verifying.run import VerifyReport, verify

__all__ = ["VerifyReport", "verify"]
