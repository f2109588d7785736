"""Who holds a lock, as the lock says."""

from __future__ import annotations

import json
from typing import Any


def parse_lock(lock: bytes) -> dict[str, Any]:
    """Empty for one that is damaged."""
    try:
        note = json.loads(lock)
    except (ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def holder(lock: bytes) -> str:
    """In words."""
    note = parse_lock(lock)
    if "pid" not in note or "host" not in note:
        return "its process is not known"
    return f"process {note['pid']} on {note['host']}"
