"""Which links of a source are followed: none that leads out of it, unless the user says so."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


def absolute(path: Path) -> Path:
    """``path`` from the root on, with the links of its folder resolved and its own name kept.

    So a manifest that is a link has its media beside the link, and a tar that is a link keeps its
    own name.
    """
    return path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name


@dataclass(frozen=True)
class LinkRule:
    """Where links of a source may lead."""

    folders: tuple[str, ...]  #: real paths
    follow: bool = False  #: anywhere

    @staticmethod
    def of(*roots: Path, follow: bool) -> LinkRule:
        """For a source below ``roots``; from a snapshot of the Hugging Face hub also into its
        blobs.
        """
        real_roots = [Path(os.path.realpath(root)) for root in roots]
        blobs = [folder for root in real_roots if (folder := _hub_blobs(root))]
        return LinkRule(tuple(map(str, (*real_roots, *blobs))), follow)

    def target_outside(self, file: Path) -> str | None:
        """Where ``file`` leads, if it is a link that must not be followed."""
        if self.follow or not os.path.islink(file):  # noqa: PTH114  Path.is_symlink raises for a name that is too long
            return None
        # of a link to itself the link, where Path.resolve would raise
        real = os.path.realpath(file)
        return None if any(_is_within(real, folder) for folder in self.folders) else real


def _hub_blobs(root: Path) -> Path | None:
    """Where the files are that the links of a snapshot lead to: REPOSITORY/blobs for
    REPOSITORY/snapshots/REVISION.
    """
    for folder in (root, *root.parents):
        if folder.parent.name == "snapshots":
            blobs = folder.parent.parent / "blobs"
            return blobs if blobs.is_dir() and not blobs.is_symlink() else None
    return None


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
