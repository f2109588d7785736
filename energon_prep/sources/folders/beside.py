"""Which files belong to media of a folder, by their names: where captions are looked for, and what
names mean.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from energon_prep.errors import PrepError
from energon_prep.formats import role_of, suffix_of
from energon_prep.sources.captions import METADATA_SUFFIX, TEXT_SUFFIXES
from energon_prep.sources.options import SourceOptions
from energon_prep.sources.tables.table_files import PACKED_SUFFIXES, TABLE_SUFFIXES, table_suffix
from energon_prep.sources.tars.webdataset import is_tar

#: What folders of captions are called, to be named to a user whose media have none beside them.
CAPTION_FOLDERS = ("captions", "caption", "texts", "text", "txt", "labels", "prompts")


#: Of tables whose rows name the media below their folder, as Hugging Face's image folders have
#: them.
METADATA_NAMES = tuple(
    f"{stem}{suffix}"
    for stem in ("metadata", "meta")
    for suffix in (*TABLE_SUFFIXES, *PACKED_SUFFIXES)
)

_role_of = lru_cache(maxsize=1024)(role_of)


def is_metadata_name(path: str) -> bool:
    return path.rpartition("/")[2] in METADATA_NAMES


class Role(NamedTuple):
    """What a file is by its name."""

    #: text: a caption or JSON; part: it may belong to media
    role: Literal["media", "text", "part", "other"]
    stem: str  #: of all but others, the path without its suffix
    kind: str  #: in plain words, what to call it where it belongs to no media


@dataclass(frozen=True, kw_only=True)
class Names:
    """What names of files mean to a folder source."""

    media_suffix: str | None  #: the only one that is taken: ".png", ".input.jpg"
    text_suffixes: frozenset[str]  #: in every spelling that is read: ".txt", ".TXT"
    part_suffixes: tuple[str, ...]  #: of parts that are carried: ".mask.png"

    @staticmethod
    def of(options: SourceOptions) -> Names:
        suffixes = (*TEXT_SUFFIXES, *options.caption_weights)
        media_key = options.media_key
        return Names(
            media_suffix=None if media_key is None else f".{media_key.lower().lstrip('.')}",
            text_suffixes=frozenset(
                f".{spelling}"
                for suffix in suffixes
                if "/" not in suffix
                for spelling in spellings(suffix)
            ),
            part_suffixes=tuple(f".{name}" for name in options.carry_parts),
        )

    def role(self, path: str) -> Role:
        """What the file at ``path`` is; suffixes may have dots of their own."""
        name = path.rpartition("/")[2]
        suffix = suffix_of(name)
        if part := next(
            (part for part in self.part_suffixes if name.endswith(part) and len(name) > len(part)),
            "",
        ):
            return Role("part", path[: -len(part)], f"{part} without media")
        if length := self._media_length(name, suffix):
            return Role("media", path[:-length], suffix)
        start = name.find(".", 1)
        while start > 0:  # the longest suffix first
            if name[start:] in self.text_suffixes:
                return Role("text", path[: start - len(name)], f"{suffix} without media")
            start = name.find(".", start + 1)
        if kind := self._other(name, suffix):
            return Role("other", "", kind)
        return Role("part", path[: -len(suffix)], suffix)

    def stem(self, path: str) -> str:
        """Of the media at ``path``."""
        return self.role(path).stem or path.rpartition(".")[0]

    def _media_length(self, name: str, suffix: str) -> int:
        """Characters of the suffix that makes the file media, 0 if it is none."""
        if self.media_suffix is None:
            return len(suffix) if _role_of(suffix).role in ("image", "video") else 0
        is_media = name.lower().endswith(self.media_suffix) and len(name) > len(self.media_suffix)
        return len(self.media_suffix) if is_media else 0

    def _other(self, name: str, suffix: str) -> str:
        """The kind of what belongs to no media whatever its name; "" for what may."""
        known = _role_of(suffix)
        if known.role in ("image", "video"):
            return f"{suffix} (not the --image-key)"
        if known.remedy:
            return f"{suffix} ({known.remedy})"
        if is_tar(name):
            return f"{suffix} (--source-kind webdataset)"
        if table_suffix(name) not in ("", f".{METADATA_SUFFIX}"):
            return f"{suffix} (a table: give it as SRC)"
        return "" if suffix else "without suffix"


def spellings(suffix: str) -> tuple[str, ...]:
    """The suffix as given, in lower and in upper case."""
    return tuple(dict.fromkeys((suffix, suffix.lower(), suffix.upper())))


def captions_folder(path: str) -> str:
    """The folder above ``path`` that is called as folders of captions are, "" if there is none."""
    folders = path.split("/")[:-1]
    place = next((i for i, name in enumerate(folders) if name.lower() in CAPTION_FOLDERS), None)
    return "" if place is None else "/".join(folders[: place + 1])


class Place(NamedTuple):
    """Where a file may lie."""

    name: str  #: relative to the source, as it is listed
    path: str


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the captions and the JSON of media lie: beside them, or in a folder with the tree of
    the media.
    """

    root: Path
    captions_dir: Path | None = None
    captions_name: str = ""  #: what the names of its files begin with

    @staticmethod
    def of(root: Path, options: SourceOptions) -> Places:
        """Raises PrepError if there is no such folder of captions."""
        if options.captions_dir is None:
            return Places(root=root)
        folder = Path(os.path.normpath(root / options.captions_dir))
        if not folder.is_dir():
            raise PrepError(
                f"there is no folder of captions {folder}: give --captions-dir relative to {root}"
            )
        if folder == root:
            return Places(root=root)
        return Places(
            root=root, captions_dir=folder, captions_name=f"{os.path.relpath(folder, root)}/"
        )

    def text_files(self, path: str, stem: str, suffix: str) -> Iterator[Place]:
        """The files that can hold the text with ``suffix`` of the media at ``path``, the likeliest
        first.
        """
        if self.captions_dir is None:
            yield from _files("", self.root, (stem, path), suffix)
        else:
            stems = self.caption_stems(path, stem)
            yield from _files(self.captions_name, self.captions_dir, stems, suffix)

    def metadata_files(self, path: str, stem: str) -> Iterator[Place]:
        if self.captions_dir is not None:
            yield from self.text_files(path, stem, METADATA_SUFFIX)
        yield from _files("", self.root, (stem, path), METADATA_SUFFIX)

    def caption_stems(self, path: str, stem: str) -> tuple[str, ...]:
        """What the caption files of the media at ``path`` can be called, relative to the captions
        folder.

        That folder holds the tree of the whole source, or that of a folder beside it:
        images/cats/1.jpg goes with captions/images/cats/1.txt and captions/cats/1.txt.
        """
        assert self.captions_dir is not None
        found = dict.fromkeys((stem, path))
        for name in (stem, path):
            whole = os.path.relpath(self.root / name, self.captions_dir.parent)
            first, slash, rest = whole.partition("/")
            if slash and first != "..":
                found[rest] = None
        return tuple(found)

    def advice(self, path: str) -> str:
        """Which folder nearby may hold the caption that the media at ``path`` lack, to begin a
        sentence; or "".
        """
        if self.captions_dir is not None:
            return f"looked in {self.captions_dir}; "
        folder = (self.root / path).parent
        for near in (folder.parent, folder, self.root):
            for name in CAPTION_FOLDERS:
                if (near / name).is_dir():
                    relative = os.path.relpath(near / name, self.root)
                    return f"there is a folder {relative}: give --captions-dir {relative}; "
        return ""


def _files(name: str, folder: Path, stems: tuple[str, ...], suffix: str) -> Iterator[Place]:
    if "/" in suffix:  # a caption key that only a JSON can have
        return
    for stem in stems:
        for form in _forms(stem):
            for spelling in spellings(suffix):
                file = f"{form}.{spelling}"
                yield Place(f"{name}{file}", f"{folder}/{file}")


def _forms(path: str) -> tuple[str, ...]:
    """The path, and with the accents of its name within their letters (NFC) and apart from them
    (NFD, as on macOS).
    """
    if path.isascii():
        return (path,)
    parent, slash, name = path.rpartition("/")
    composed = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    return tuple(dict.fromkeys((path, *(parent + slash + form for form in composed))))
