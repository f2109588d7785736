"""Where the media lie that a table names: what relative paths start from, and what they must not
leave.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from energon_prep.errors import SampleError
from energon_prep.formats import MEDIA_SUFFIXES, role_of, suffix_of
from energon_prep.samples import printable
from energon_prep.sources.media import URL
from energon_prep.sources.walk import LinkRule, exists


@dataclass(frozen=True, kw_only=True)
class MediaPaths:
    """The media files that one table names.

    A relative path begins at ``start``, or where that would lead out of the ``fence``, as
    ``../images/a.jpg`` may, at the table; it must not leave the fence. An absolute path is taken as
    it is.
    """

    table_dir: Path  #: absolute, as the others
    start: Path  #: the media root, or the folder of the table
    fence: Path  #: the media root, or the source's folder; records name media relative to it
    follow_links: bool = False

    def shown(self, path: str) -> str:
        """How records call the media: relative to the fence where they lie within, else as the
        table does.
        """
        try:
            file = self._target(path)
        except SampleError:
            return printable(path)
        return printable(path if path.startswith("/") else file.removeprefix(self._prefix))

    def locate(self, path: str) -> Path:
        """The media file, which need not exist. Raises SampleError for a path that leads where it
        must not.
        """
        file = self.find(path)
        if not Path(path).is_absolute():
            self._check_links(file)
        return file

    def find(self, path: str) -> Path:
        """As ``locate``, wherever links lead."""
        file = Path(self._target(path))
        spellings = (
            [self.start / path, *_composed(file)] if "\\" in path or not path.isascii() else []
        )
        if spellings and not exists(file):
            file = next((spelled for spelled in spellings if exists(spelled)), file)
        return file if suffix_of(file.name) in MEDIA_SUFFIXES else _with_suffix(file)

    def _target(self, path: str) -> str:
        """The absolute path, made of names alone."""
        if URL.match(path):
            remedy = "fetch them first (img2dataset, rclone) or mount the bucket, and give paths"
            raise SampleError("read", "remote media are not read here", f"{path}: {remedy}")
        if "\0" in path:
            raise SampleError("read", "the media path holds a NUL")
        path = path.replace("\\", "/")
        if path[1:3] == ":/":
            remedy = "give relative paths, and --media-root for what they start from"
            raise SampleError("read", "the media path is one of Windows", f"{path}; {remedy}")
        if path.startswith("/"):
            return path
        targets = [os.path.normpath(f"{folder}/{path}") for folder in (self.start, self.table_dir)]
        for target in targets:
            if target.startswith(self._prefix):
                return target
        detail = (
            f"{path} leaves {self.fence}, and not {os.path.commonpath([targets[-1], self._prefix])}"
        )
        raise SampleError(
            "read", "the media path leaves the media root (give --media-root)", detail
        )

    def _check_links(self, file: Path) -> None:
        target = self._link_rule.target_outside(file)
        if target is not None:
            raise SampleError(
                "read",
                "a link leads out of the source (give --follow-links)",
                f"to {printable(target)}",
            )

    @cached_property
    def _prefix(self) -> str:
        return f"{str(self.fence).rstrip('/')}/"

    @cached_property
    def _link_rule(self) -> LinkRule:
        return LinkRule.of(self.fence, follow=self.follow_links)


def _composed(file: Path) -> list[Path]:
    """The two ways to write accents: macOS stores them apart from their letters (NFD)."""
    return [
        Path(unicodedata.normalize("NFC", str(file))),
        Path(unicodedata.normalize("NFD", str(file))),
    ]


def _with_suffix(file: Path) -> Path:
    """The media that ``file`` names without their suffix; as it is if there are none, or if it
    exists itself.
    """
    if role_of(suffix_of(file.name)).role != "unknown" or exists(file):
        return file
    named = (file.with_name(file.name + suffix) for suffix in MEDIA_SUFFIXES)
    return next((found for found in named if exists(found)), file)
