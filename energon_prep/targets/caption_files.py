"""What a dataset has of the empty caption, beside its shards: its embedding, and what a trainer
reads of it.
"""

from __future__ import annotations

from typing import Any

from energon_prep.layout import EMPTY_CAPTION
from energon_prep.targets.base import Target
from energon_prep.targets.serialize import dumps_pickle


def caption_file_names(target: Target) -> tuple[str, ...]:
    return (EMPTY_CAPTION, *target.caption_files)


def caption_files(target: Target, text: Any) -> dict[str, bytes]:
    """The files by name, made of what the target's ``build_text`` gives of the empty caption."""
    made = {name: make(text) for name, make in target.caption_files.items()}
    return {EMPTY_CAPTION: dumps_pickle(text), **made}
