"""Which tars a dataset has, and what Energon sees in one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from energon_prep.tar_headers import BLOCK

# megatron.energon.flavors.webdataset.config, whose import would load torch.
_KEY_AND_PART = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")
_META_NAME = re.compile(r"__[^/]*__($|/)")


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What lies in a dataset's folder; names are relative to it."""

    tars: tuple[str, ...]  #: in Energon's order
    compressed: tuple[str, ...]  #: .tgz and .tar.gz, which Energon cannot load samples from


def list_tars(root: Path) -> Listing:
    """Every tar under ``root``, as ``energon prepare`` finds them: links followed, hidden names
    left out.
    """
    tars: list[str] = []
    compressed: list[str] = []
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder above it
            folders.clear()
            continue
        seen.add(real)
        for name in files:
            if name.startswith("."):
                continue
            path = (Path(folder) / name).relative_to(root).as_posix()
            if name.endswith(".tar"):
                tars.append(path)
            elif name.endswith((".tgz", ".tar.gz")):
                compressed.append(path)
    return Listing(
        tars=tuple(sorted(tars, key=PurePosixPath)),
        compressed=tuple(sorted(compressed, key=PurePosixPath)),
    )


def split_name(name: str) -> tuple[str, str] | None:
    """Key and part of a member, by Energon's rule; None if Energon passes over it."""
    if _META_NAME.match(name):
        return None
    match = _KEY_AND_PART.match(name)
    return (match[1], match[2]) if match else None


def has_end_mark(path: Path, end: int) -> bool:
    """Whether the end-of-archive mark lies at ``end``: one read, for telling whether an .idx fits
    its tar.
    """
    with path.open("rb") as file:
        file.seek(end)
        return file.read(BLOCK) == bytes(BLOCK)
