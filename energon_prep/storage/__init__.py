"""Where datasets are written to, and where a file appears whole or not at all."""

from __future__ import annotations

import re
from pathlib import Path

from energon_prep.errors import UsageError
from energon_prep.storage.base import Publication, Storage, publish_bytes
from energon_prep.storage.guard import writing
from energon_prep.storage.local import (
    LocalPublication,
    LocalStorage,
    refuse_linked_folder,
    refuse_special,
)
from energon_prep.storage.urls import scrubbed

__all__ = [
    "LocalPublication",
    "LocalStorage",
    "Publication",
    "Storage",
    "dataset_folder",
    "publish_bytes",
    "refuse_linked_folder",
    "refuse_special",
    "writing",
]


def dataset_folder(dest: str | Path) -> Path:
    """Where a dataset is, or is to be. Raises UsageError for a URL, and for a file."""
    if scheme := re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*):/", str(dest)):
        raise UsageError(
            f"{scrubbed(dest)}: remote datasets ({scheme[1]}) are not written or read yet; mount "
            "it here, or give a local folder and copy that"
        )
    folder = Path(dest).absolute()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{dest} is a file, and a dataset is a folder: give another DST")
    return folder
